// A library that is not ours (ccxt) is pointed at the simulator and must read, for each venue, the best bid and ask that
// our own feed reads from it. Where it does not, one of the two speaks a dialect: the simulator that nobody else understands,
// or our decoder that only understands the simulator.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import ccxt from 'ccxt'
import { Server, serve, sleep, until } from '../clients/rig.js'

const SYMBOL = 'BTC/USDT'
// Gemini is not here: ccxt speaks its older protocol, our feed and the simulator the present one.

/** Updates that each library call must give before it is believed. */
const UPDATES = 12

/**
 * How ccxt is pointed at a simulated venue: its id there, the venue's own symbol, where the addresses go (`at` is host, port and
 * path of the venue), and the calls that tell the best bid and ask.
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
  // Without the option that our feed sets, Bitfinex tells each level by itself, so that ccxt's book is seen half changed.
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
let server
let client
let taking
/** Per exchange: every `bid ask` that our feed has read, in order. */
const read = Object.fromEntries(Object.keys(VENUES).map((name) => [name, new Set()]))

before(async () => {
  const names = Object.keys(VENUES)
  sim = await Server.start(['sim', '--listen', '127.0.0.1:0', '--rate', '400', '--venues', names.join(',')])
  const addresses = () => [...sim.stdout.matchAll(/^ {2}(\w+) +(\S+:\/\/\S+)$/gm)]
  await until('the addresses', () => addresses().length === names.length)
  const lines = addresses().map(([, name, address]) => `[venue.${name}]\naddress = "${address}"\n`)
  const list = (texts) => `[${texts.map((text) => `"${text}"`).join(', ')}]`
  server = await serve(`venues = ${list(names)}\ninstruments = ["${SYMBOL}"]\n${lines.join('')}`)
  client = await server.client()
  await client.subscribe([SYMBOL], names, { intervalMs: 0 })
  const take = () => {
    for (const { value } of client.heard.splice(0)) {
      if (value.type === 'price') read[value.exchange].add(`${value.bid} ${value.ask}`)
    }
  }
  taking = setInterval(take, 20)
  await until('our own prices', () => names.every((name) => read[name].size > 0))
})

after(async () => {
  clearInterval(taking)
  await client?.close()
  await server?.stop()
  await sim?.stop()
})

/** ccxt for one simulated venue, with one market and without its own look at the venue's list. */
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
          const end = Date.now() + 30_000
          while (seen.size < UPDATES && Date.now() < end) {
            const quote = await Promise.race([best(exchange, call), sleep(10_000)])
            if (quote) seen.add(quote)
          }
        } finally {
          await exchange.close()
        }
        assert.ok(seen.size >= UPDATES, `${seen.size} updates in time`)
        // What the library saw a moment before us comes a moment later.
        const missing = () => [...seen].filter((quote) => !read[name].has(quote))
        await until('our feed', () => missing().length === 0, 2000).catch(() => {})
        assert.deepEqual(missing(), [], 'quotes that only the library has read')
      })
    }
  }
})
