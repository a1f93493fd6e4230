// A third-party library (ccxt) reads the simulator. For each venue it must read the best bid and ask that our own decoder
// reads. A difference means that the simulator or our decoder deviates from the protocol of the venue.
//
// The gateway sends its clients the newest quote only, and how many quotes it skips depends on the machine. The reference is
// therefore every frame that the feed receives, recorded between the simulator and the feed and decoded by `spreadwire decode`.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import ccxt from 'ccxt'
import { BINARY, Server, serve, until } from '../clients/rig.js'
import { Tap } from './tap.js'

const SYMBOL = 'BTC/USDT'
// Gemini is absent: ccxt uses its older protocol, our feed and the simulator use the current one.

/** Different quotes that each call of the library must return. */
const UPDATES = 12

/**
 * Settings of ccxt for each simulated venue: its name in ccxt (`as`), the venue's own symbol, the function that sets the
 * addresses (`at` is host, port and path of the venue), and the calls that return the best bid and ask.
 */
const VENUES = {
  binance: { id: 'BTCUSDT', point: (e, at) => (e.urls.api.ws.spot = `ws://${at}/ws`), calls: ['watchBidsAsks'] },
  coinbase: { id: 'BTC-USDT', point: (e, at) => (e.urls.api.ws = `ws://${at}`), calls: ['watchTicker', 'watchOrderBook'] },
  kraken: { id: 'BTC/USDT', point: (e, at) => (e.urls.api.ws.publicV2 = `ws://${at}/v2`), calls: ['watchBidsAsks', 'watchOrderBook'] },
  okx: { id: 'BTC-USDT', point: (e, at) => (e.urls.api.ws = `ws://${at}/ws/v5`), calls: ['watchBidsAsks', 'watchOrderBook'] },
  bybit: {
    id: 'BTCUSDT',
    point: (e, at) => (e.urls.api.ws.public.spot = `ws://${at}/v5/public/spot`),
    calls: ['watchBidsAsks', 'watchOrderBook'],
  },
  kucoin: { id: 'BTC-USDT', point: (e, at) => (e.urls.api.public = `http://${at}`), calls: ['watchBidsAsks', 'watchTicker'] },
  binanceus: { id: 'BTCUSDT', point: (e, at) => (e.urls.api.ws.spot = `ws://${at}/ws`), calls: ['watchBidsAsks'] },
  gateio: { as: 'gate', id: 'BTC_USDT', point: (e, at) => (e.urls.api.spot = `ws://${at}/ws/v4/`), calls: ['watchBidsAsks'] },
  bitget: { id: 'BTCUSDT', point: (e, at) => (e.urls.api.ws.public = `ws://${at}/v2/ws/public`), calls: ['watchBidsAsks', 'watchTicker'] },
  cryptocom: {
    id: 'BTC_USDT',
    point: (e, at) => (e.urls.api.ws.public = `ws://${at}/exchange/v1/market`),
    calls: ['watchTicker', 'watchOrderBook'],
  },
  // Bitfinex sends each level in a separate message unless the option that our feed sets is given: a book of ccxt is inconsistent in between.
  bitfinex: { id: 'tBTCUST', point: (e, at) => (e.urls.api.ws.public = `ws://${at}/ws/2`), calls: ['watchTicker'] },
  bitstamp: {
    id: 'btcusdt',
    point: (e, at) => {
      e.urls.api.ws = `ws://${at}`
      e.urls.api.public = `http://${at}/api`
    },
    calls: ['watchOrderBook'],
  },
  htx: {
    id: 'btcusdt',
    point: (e, at) => {
      e.urls.api.ws.api.spot.public = `ws://${at}/ws`
      e.urls.api.ws.api.spot.feed = `ws://${at}/feed`
    },
    calls: ['watchOrderBook'],
  },
  mexc: { id: 'BTCUSDT', point: (e, at) => (e.urls.api.ws.spot = `ws://${at}/ws`), calls: ['watchTicker'] },
  upbit: { id: 'USDT-BTC', point: (e, at) => (e.urls.api.ws = `ws://${at}/websocket/v1`), calls: ['watchOrderBook'] },
}

let sim
let tap
let server
let client

before(async () => {
  const names = Object.keys(VENUES)
  sim = await Server.start(['sim', '--listen', '127.0.0.1:0', '--rate', '400', '--venues', names.join(',')])
  const addresses = () => [...sim.stdout.matchAll(/^ {2}(\w+) +(\S+:\/\/\S+)$/gm)]
  await until('the addresses', () => addresses().length === names.length)
  tap = await Tap.open(sim.address)
  const lines = addresses().map(([, name, address]) => `[venue.${name}]\naddress = "${address.replace(sim.address, tap.address)}"\n`)
  const list = (texts) => `[${texts.map((text) => `"${text}"`).join(', ')}]`
  server = await serve(`venues = ${list(names)}\ninstruments = ["${SYMBOL}"]\n${lines.join('')}`)
  client = await server.client()
  await client.subscribe([SYMBOL], names)
  await until('a price of each venue', () => names.every((name) => published(name).length > 0))
})

after(async () => {
  await client?.close()
  await server?.stop()
  tap?.close()
  await sim?.stop()
})

/** The quotes of a venue that the gateway has sent to its client: some of those that the feed has read, the newest of each beat. */
const published = (name) =>
  client.heard.flatMap(({ value }) => (value.type === 'price' && value.exchange === name ? [`${value.bid} ${value.ask}`] : []))

/** Every quote in the frames that our feed has received from a venue, as our decoder reads them. */
async function decoded(name) {
  const decoder = spawn(BINARY, ['decode', '--venue', name, '-'])
  const [lines, report] = [decoder.stdout, decoder.stderr].map((stream) => stream.setEncoding('utf8').toArray())
  decoder.stdin.end(tap.captures[name].join('\n'))
  assert.match((await report).join(''), /, 0 that could not be decoded/)
  const quotes = (await lines).join('').split('\n').filter(Boolean).map((line) => JSON.parse(line))
  return new Set(quotes.map(({ bid, ask }) => `${Number(bid)} ${Number(ask)}`))
}

/** ccxt for one simulated venue, with one market. It does not request the venue's list of markets. */
async function library(name) {
  const { id, point, as } = VENUES[name]
  const exchange = new ccxt.pro[as ?? name]({ newUpdates: true })
  await exchange.loadHttpProxyAgent()
  point(exchange, `${sim.address}/${name}`)
  const [base, quote] = SYMBOL.split('/')
  const none = { amount: {}, price: {}, cost: {}, leverage: {} }
  const market = {
    id, symbol: SYMBOL, base, quote, baseId: base, quoteId: quote, lowercaseId: id.toLowerCase(), type: 'spot', spot: true,
    margin: false, swap: false, future: false, option: false, contract: false, active: true, taker: 0, maker: 0,
    precision: { amount: 1e-8, price: 1e-8 }, limits: none, info: {},
  }
  exchange.setMarkets([market])
  exchange.loadMarkets = async () => exchange.markets
  return exchange
}

/** The best bid and ask of one answer of `call`. */
async function best(exchange, call) {
  if (call === 'watchOrderBook') {
    const book = await exchange.watchOrderBook(SYMBOL)
    return book.bids.length && book.asks.length ? `${book.bids[0][0]} ${book.asks[0][0]}` : undefined
  }
  const answer = call === 'watchTicker' ? await exchange.watchTicker(SYMBOL) : (await exchange.watchBidsAsks([SYMBOL]))[SYMBOL]
  return `${answer.bid} ${answer.ask}`
}

describe('ccxt reads from the simulator what our feed reads', { concurrency: 3 }, () => {
  for (const [name, { calls }] of Object.entries(VENUES)) {
    for (const call of calls) {
      test(`${name} ${call}`, async () => {
        const exchange = await library(name)
        const seen = new Set()
        try {
          while (seen.size < UPDATES) {
            const quote = await best(exchange, call)
            if (quote) seen.add(quote)
          }
        } finally {
          await exchange.close()
        }
        let missing
        const isComplete = async (quotes) => {
          const known = await decoded(name)
          missing = quotes.filter((quote) => !known.has(quote))
          return missing.length === 0
        }
        // The simulator may write to the library before it writes to our feed.
        await until('our feed', () => isComplete([...seen])).catch(() => {})
        assert.deepEqual(missing, [], 'quotes that only the library has read')
        assert.ok(await isComplete(published(name)), `quotes that only the gateway has published: ${missing}`)
      })
    }
  }
})
