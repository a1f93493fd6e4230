// The behaviour of /ws/prices towards a client, except alerts.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { WebSocket } from 'ws'
import { Client, Server, Venue, isNow, rounds, serveOn, until } from './rig.js'

const SYMBOLS = Array.from({ length: 30 }, (_, n) => `T${n}/USDT`)
const keys = (messages) => messages.map(({ value }) => `${value.symbol}@${value.exchange}`)

describe('prices', { concurrency: true }, () => {
  let binance, okx, server
  let taken = 0
  /** A symbol that no other test uses. */
  const fresh = () => SYMBOLS[taken++]
  /** Waits for `count` beats of the gateway. They are counted by the prices of a pair that is always fresh. */
  const beats = async (count) => {
    const witness = await server.client()
    await witness.subscribe(['WITNESS/USDT'], ['binance'])
    await witness.take(count + 1, 'price')
    await witness.close()
  }
  /** What `client` receives in two beats. */
  const inTwoBeats = async (client, type) => {
    await beats(2)
    return client.soFar(type)
  }
  let minutes = 0
  /** A stamp one minute after the previous one of the same venue: a quote that comes later than its stamp says has no price. */
  const ahead = () => Date.now() + 60_000 * ++minutes

  before(async () => {
    binance = await Venue.open('binance')
    okx = await Venue.open('okx')
    server = await serveOn([binance, okx], [...SYMBOLS, 'WITNESS/USDT'])
    binance.quote('WITNESS/USDT', '1', '2')
  })
  after(async () => {
    assert.equal(await server.stop(), 0)
    ;[binance, okx].forEach((venue) => venue.close())
  })

  test('exactly /ws/prices: a query is ignored, a trailing slash and other paths are refused', async () => {
    const client = await server.client('/ws/prices?token=x&y')
    await client.subscribe([], [])
    for (const path of ['/ws/prices/', '/ws', '/ws/price', '/WS/prices', '/']) {
      await assert.rejects(server.client(path), (error) => error.status >= 400, path)
    }
    await client.close()
  })

  test('any origin, no subprotocol, no compression', async () => {
    const client = await server.client('/ws/prices', { origin: 'https://elsewhere.example' })
    assert.equal(client.socket.protocol, '')
    assert.equal(client.socket.extensions, '')
    await client.close()
  })

  test('nothing is sent on connect', async () => {
    const client = await server.client()
    assert.deepEqual(await inTwoBeats(client), [])
    await client.close()
  })

  test('keys in any order, unknown keys, missing lists, binary frames', async () => {
    const client = await server.client()
    client.send('{"future":[1,{"a":null}],"exchanges":["binance"],"symbols":["A/B"],"action":"subscribe"}')
    assert.equal((await client.next()).text, '{"type":"subscribed","symbols":["A/B"],"exchanges":["binance"],"message":"Successfully subscribed"}')
    client.send('{"action":"subscribe"}')
    assert.deepEqual((await client.next()).value.symbols, ['A/B'])
    client.socket.send(Buffer.from('{"action":"subscribe","symbols":["C/D"]}'))
    const reply = await client.next()
    assert.deepEqual(reply.value.symbols, ['A/B', 'C/D'])
    assert.equal(reply.binary, false, 'replies are text')
    await client.close()
  })

  test('subscriptions grow, keep order and spelling, and accept unknown names', async () => {
    const client = await server.client()
    await client.subscribe(['b/usdt', 'A/USDT'], ['nowhere'])
    const reply = await client.subscribe(['A/USDT', 'B/USDT', 'b/usdt', '\u{1F600}"\\'], ['Binance', 'nowhere'])
    assert.equal(
      reply.text,
      '{"type":"subscribed","symbols":["b/usdt","A/USDT","B/USDT","\u{1F600}\\"\\\\"],"exchanges":["nowhere","Binance"],"message":"Successfully subscribed"}',
    )
    assert.deepEqual(await inTwoBeats(client), [], 'unknown names have no price and are no error')
    await client.close()
  })

  test('the cross product of both sets, in the order of subscription', async () => {
    const [a, b] = [fresh(), fresh()]
    for (const symbol of [a, b]) {
      binance.quote(symbol, '10', '11')
      okx.quote(symbol, '10', '11')
    }
    const client = await server.client()
    await client.subscribe([b], ['okx'])
    await client.subscribe([a], ['binance'])
    const pairs = [`${b}@okx`, `${b}@binance`, `${a}@okx`, `${a}@binance`]
    // The first prices of new pairs come at once, before the burst of the next beat.
    await client.next((m) => keys([m])[0] === pairs[3])
    await client.next((m) => keys([m])[0] === pairs[3])
    for (const round of rounds(await client.take(12, 'price'), 4)) assert.deepEqual(keys(round), pairs)
    await client.close()
  })

  test('the reply is first, the first price follows at once', async () => {
    const symbol = fresh()
    binance.quote(symbol, '10', '11')
    const client = await server.client()
    // The beat is a minute. The tests of the gateway check the times on a hand-turned clock.
    for (let n = 0; n < 5; n++) {
      client.send({ action: 'subscribe', symbols: [symbol], exchanges: ['binance'], intervalMs: 60_000 })
      assert.equal((await client.next()).value.type, 'subscribed')
      assert.equal((await client.next()).value.type, 'price')
      await client.unsubscribe([symbol], ['binance'])
    }
    await client.close()
  })

  test('the reply to unsubscribe is the remainder; absent names are ignored, other prices continue', async () => {
    const [a, b] = [fresh(), fresh()]
    binance.quote(a, '1', '2')
    binance.quote(b, '1', '2')
    const client = await server.client()
    await client.subscribe([a, b], ['binance', 'okx'])
    const reply = await client.unsubscribe([a, 'X/Y'], ['okx', 'nowhere'])
    assert.equal(reply.text, `{"type":"unsubscribed","symbols":["${b}"],"exchanges":["binance"],"message":"Successfully unsubscribed"}`)
    const prices = await client.take(3, 'price')
    assert.deepEqual([...new Set(keys(prices))], [`${b}@binance`])
    assert.deepEqual((await client.unsubscribe([b], ['binance'])).value.symbols, [])
    assert.deepEqual(await inTwoBeats(client), [])
    await client.close()
  })

  test('the error messages, and a connection that stays open', async () => {
    const client = await server.client()
    const invalid = '{"type":"error","message":"Invalid message format"}'
    for (const [request, reply] of [
      ['{nonsense', invalid],
      ['null', invalid],
      ['{"action":"subscribe","symbols":"BTC/USDT","exchanges":[]}', invalid],
      ['{"action":"dance"}', '{"type":"error","message":"Unknown action: dance"}'],
      ['{"symbols":[]}', '{"type":"error","message":"Unknown action: undefined"}'],
      ['{"action":"subscribe","symbols":["KEPT/USDT"],"exchanges":{}}', invalid],
    ]) {
      client.send(request)
      assert.equal((await client.next()).text, reply, request)
    }
    assert.deepEqual((await client.subscribe([], [])).value.symbols, ['KEPT/USDT'], 'right symbols count beside wrong exchanges')
    await client.close()
  })

  test('five fields in order, numbers as the venue wrote them, whole milliseconds', async () => {
    const [symbol, time] = [fresh(), ahead()]
    okx.quote(symbol, '0.00001230', '42500.500', { time })
    const client = await server.client()
    await client.subscribe([symbol], ['okx'])
    const price = await client.next('price')
    assert.equal(price.text, `{"type":"price","symbol":"${symbol}","exchange":"okx","bid":0.0000123,"ask":42500.5,"timestamp":${time}}`)
    await client.close()
  })

  test('a venue without stamps: the timestamp is now', async () => {
    const symbol = fresh()
    binance.quote(symbol, '1', '2')
    const client = await server.client()
    await client.subscribe([symbol], ['binance'])
    const { value } = await client.next('price')
    assert.ok(isNow(value.timestamp))
    await client.close()
  })

  test('every pair every 500 ms, changed or not, all pairs of a client in one burst', async () => {
    const symbols = [fresh(), fresh()]
    for (const symbol of symbols) {
      binance.quote(symbol, '1', '2')
      okx.quote(symbol, '1', '2')
    }
    const client = await server.client()
    await client.subscribe(symbols, ['binance', 'okx'])
    const pairs = symbols.flatMap((symbol) => [`${symbol}@binance`, `${symbol}@okx`])
    // The tests of the gateway check the 500 ms on a hand-turned clock.
    for (const round of rounds(await client.take(40, 'price'), 4)) assert.deepEqual(keys(round), pairs)
    await client.close()
  })

  test('a plain client receives the newest price once per beat, regardless of the number of changes', async () => {
    const symbol = fresh()
    binance.quote(symbol, '1', '1000')
    const client = await server.client()
    await client.subscribe([symbol], ['binance'])
    // 50 changes at once, again after each price.
    const changes = 300
    for (let n = 1; n <= changes; n++) {
      binance.quote(symbol, String(1 + n / 1e6), '1000')
      if (n % 50 === 0) await client.next('price')
    }
    await client.next(({ value }) => value.bid === 1 + changes / 1e6)
    const bids = client.heard.flatMap(({ value }) => value.bid ?? [])
    assert.deepEqual(bids, bids.toSorted((a, b) => a - b))
    assert.ok(new Set(bids).size < changes, `${bids.length} prices of ${changes} changes`)
    await client.close()
  })

  test('a missing or impossible side: no message instead of null or 0', async () => {
    const [symbol, marker] = [fresh(), fresh()]
    okx.quote(symbol, '5', '6')
    const [client, watcher] = [await server.client(), await server.client()]
    await client.subscribe([symbol], ['okx'])
    await watcher.subscribe([symbol, marker], ['okx'], { intervalMs: 0, extended: true })
    await client.next('price')
    await watcher.next('price')
    okx.quote(symbol, '', '6')
    await watcher.next((m) => m.value.state === 'stale')
    await client.soFar()
    assert.deepEqual(await inTwoBeats(client, 'price'), [], 'one-sided')
    okx.quote(symbol, '7', '6')
    okx.quote(marker, '7', '8')
    await watcher.next((m) => m.value.symbol === marker)
    assert.deepEqual(await inTwoBeats(client, 'price'), [], 'crossed')
    okx.quote(symbol, '5', '6')
    assert.equal((await client.next('price')).value.bid, 5)
    await Promise.all([client.close(), watcher.close()])
  })

  test('intervalMs and extended are opt-in; without them there are no further members', async () => {
    const [symbol, time] = [fresh(), ahead()]
    okx.quote(symbol, '5', '6', { bidSize: '1.50', askSize: '0.25', time })
    const [plain, live] = [await server.client(), await server.client()]
    await plain.subscribe([symbol], ['okx'])
    await live.subscribe([symbol], ['okx'], { intervalMs: 0, extended: true })
    assert.match(
      (await live.next('price')).text,
      new RegExp(`^\\{"type":"price","symbol":"${symbol}","exchange":"okx","bid":5,"ask":6,"timestamp":${time},"bidSize":1.5,"askSize":0.25,"seq":\\d+,"source":"live","level":"websocket","state":"fresh","ageMs":\\d+,"receivedNs":\\d+,"excessLagMs":(null|[\\d.]+)\\}$`),
    )
    for (let n = 1; n <= 20; n++) {
      okx.quote(symbol, String(5 + n / 100), '6')
      assert.equal((await live.next('price')).value.bid, 5 + n / 100, 'each change is sent')
    }
    assert.deepEqual(await inTwoBeats(live), [], 'and nothing but changes')
    assert.ok((await plain.soFar('price')).every(({ value }) => Object.keys(value).length === 6))
    await Promise.all([plain.close(), live.close()])
  })

  test('a client subscribes with its whole union and unsubscribes with the difference', async () => {
    const [a, b] = [fresh(), fresh()]
    binance.quote(a, '1', '2')
    binance.quote(b, '1', '2')
    const client = await server.client()
    await client.subscribe([a], ['binance'])
    await client.next('price')
    await client.subscribe([a, b], ['binance'])
    // The first price of the new pair comes before the burst of all.
    await client.next((m) => m.value.symbol === b)
    await client.next((m) => m.value.symbol === b)
    for (const round of rounds(await client.take(6, 'price'), 2)) assert.deepEqual(keys(round), [`${a}@binance`, `${b}@binance`])
    await client.unsubscribe([a], [])
    assert.deepEqual([...new Set(keys(await client.take(3, 'price')))], [`${b}@binance`])
    await client.close()
  })

  test('three sockets of one page, each with its own subscription', async () => {
    const symbol = fresh()
    binance.quote(symbol, '1', '2')
    okx.quote(symbol, '1', '2')
    const [prices, monitor, comparison] = await Promise.all([server.client(), server.client(), server.client()])
    await Promise.all([
      prices.subscribe([symbol], ['binance', 'okx']),
      monitor.subscribe([symbol], []),
      comparison.subscribe([symbol], ['okx']),
    ])
    assert.equal(new Set(keys(await prices.take(6, 'price'))).size, 2)
    assert.deepEqual([...new Set(keys(await comparison.take(3, 'price')))], [`${symbol}@okx`])
    assert.deepEqual(await inTwoBeats(monitor), [], 'no exchanges, no prices')
    await Promise.all([prices, monitor, comparison].map((client) => client.close()))
  })

  test('a message above the limit closes with 1009, too many errors with 1008; other clients stay connected', async () => {
    const [large, wrong, good] = await Promise.all([server.client(), server.client(), server.client()])
    large.send({ action: 'subscribe', symbols: ['x'.repeat(70_000)] })
    assert.equal((await large.closed).code, 1009)
    for (let n = 0; n < 10; n++) wrong.send('nonsense')
    assert.equal((await wrong.closed).code, 1008)
    assert.equal(wrong.heard.length, 10)
    await good.subscribe([], [])
    await good.close()
  })
})

describe('the life of a connection', { concurrency: true }, () => {
  test('stats count clients, pairs and names, until a client leaves', async () => {
    const server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
    const stats = async () => (await server.json('/api/websocket/stats')).value.stats
    const first = await server.get('/api/websocket/stats')
    assert.equal(first.status, 200)
    assert.match(first.headers['content-type'], /^application\/json/)
    assert.match(first.body, /^\{"status":"active","stats":\{"clientCount":\d+,"totalSubscriptions":\d+,"uniqueSymbols":\d+,"uniqueExchanges":\d+\}\}$/)
    // The demo has its own client, which receives every alert.
    const own = await until('the own client', async () => {
      const found = await stats()
      return found.clientCount === 1 && found.uniqueSymbols > 0 && found
    })
    const [a, b] = [await server.client(), await server.client()]
    await a.subscribe(['BTC/USDT', 'ETH/USDT'], ['binance', 'okx', 'nowhere'])
    await b.subscribe(['BTC/USDT'], ['kraken'])
    const all = await stats()
    assert.equal(all.clientCount, own.clientCount + 2)
    assert.equal(all.totalSubscriptions, own.totalSubscriptions + 7, 'pairs, as the guide counts')
    assert.ok(all.uniqueSymbols >= 2 && all.uniqueExchanges >= own.uniqueExchanges + 3)
    a.socket.terminate()
    await b.close()
    await until('both forgotten', async () => JSON.stringify(await stats()) === JSON.stringify(own))
    assert.equal(await server.stop(), 0)
  })

  test('only the six known types, from six exchanges, one frame after opening', async () => {
    const server = await Server.start(['demo', '--listen', '127.0.0.1:0', '--seed', '7'])
    const client = await server.client()
    const exchanges = ['binance', 'coinbase', 'kraken', 'bybit', 'kucoin', 'okx']
    await client.subscribe(['BTC/USDT', 'ETH/USDT', 'SOL/USDT'], exchanges)
    await until('all six', () => new Set(client.heard.map(({ value }) => value.exchange)).size > 6)
    const types = new Set(client.heard.map(({ value }) => value.type))
    assert.deepEqual([...types].filter((type) => !['price', 'arbitrage', 'subscribed'].includes(type)), [])
    for (const { value } of client.heard.filter(({ value }) => value.type === 'price')) {
      assert.deepEqual(Object.keys(value), ['type', 'symbol', 'exchange', 'bid', 'ask', 'timestamp'])
      assert.ok(value.bid > 0 && value.ask >= value.bid && isNow(value.timestamp))
    }
    await client.close()
    assert.equal(await server.stop('SIGINT'), 0)
  })

  test('a restart closes with 1001; the client reconnects and subscribes again', async () => {
    const venue = await Venue.open('binance')
    venue.quote('BTC/USDT', '1', '2')
    const server = await serveOn([venue], ['BTC/USDT'])
    const port = Number(server.address.split(':')[1])
    const url = `ws://${server.address}/ws/prices`
    const first = await Client.open(url)
    await first.subscribe(['BTC/USDT'], ['binance'])
    await first.next('price')
    assert.equal(await server.stop(), 0)
    assert.equal((await first.closed).code, 1001)
    // Clients wait three seconds before each of five attempts. The first attempt may be too early.
    await assert.rejects(Client.open(url))
    const again = await serveOn([venue], ['BTC/USDT'], '', { port })
    const second = await Client.open(url)
    assert.deepEqual((await second.subscribe(['BTC/USDT'], ['binance'])).value.symbols, ['BTC/USDT'])
    await second.next('price')
    await second.close()
    await again.stop()
    venue.close()
  })

  test('plain HTTP on the WebSocket path, and another version of the protocol, are answered with 426', async () => {
    const server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
    const reply = await server.get('/ws/prices')
    assert.equal(reply.status, 426)
    assert.equal(reply.headers.upgrade, 'websocket')
    const socket = new WebSocket(`ws://${server.address}/ws/prices`, { protocolVersion: 8 })
    const [status] = await new Promise((resolve) => {
      socket.on('error', () => {})
      socket.on('unexpected-response', (_, response) => resolve([response.statusCode]))
    })
    assert.equal(status, 426)
    await server.stop()
  })
})
