// The behaviour of the SSE stream and the REST pages towards a client.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { EventSource } from 'eventsource'
import { Stream, Venue, every, isNow, rounds, serve, serveOn, until } from './rig.js'

const SYMBOLS = ['BTC/USDT', 'ETH/USDT', 'SOL/USDT', '1INCH/USDT', 'LONE/USDT', 'GONE/USDT', 'RAW/USDT', 'COLD/USDT', 'NOW/USDT']
const DAY = { last: '43000.5', high: '44000', low: '41000.25', change: '-12.50', changePercent: '-0.030', volume: '123456789.5' }
const FIELDS = ['pair', 'price', 'bid', 'ask', 'high24h', 'low24h', 'change24h', 'changePercent24h', 'volume24h', 'timestamp']

describe('streams and pages', { concurrency: true }, () => {
  let binance, okx, server, stop

  before(async () => {
    binance = await Venue.open('binance')
    // One symbol has a USD book.
    okx = await Venue.open('okx', { instruments: ['BTC/USDT', 'SOL/USD'] })
    server = await serveOn([binance, okx], SYMBOLS)
    for (const [at, symbol] of SYMBOLS.entries()) {
      if (symbol === 'COLD/USDT') continue
      binance.quote(symbol, `${at + 1}.50`, `${at + 2}.00`)
      if (symbol !== 'LONE/USDT') binance.day(symbol, DAY)
    }
    okx.quote('BTC/USDT', '1.6', '2.1')
    okx.quote('SOL/USD', '70', '71')
    stop = every(1000, () => okx.repeat())
    await until('prices', async () => (await server.get('/api/market-data/health')).status === 200)
  })
  after(async () => {
    stop()
    assert.equal(await server.stop(), 0)
    ;[binance, okx].forEach((venue) => venue.close())
  })

  test('a comma-separated list, encoded or not; blanks and empty names are ignored, digits allowed', async () => {
    for (const query of ['pairs=BTC/USDT,1INCH/USDT', 'pairs=BTC%2FUSDT%2C1INCH%2FUSDT', 'pairs=%20BTC/USDT%20,,+1INCH/USDT,']) {
      const stream = await server.stream(query)
      assert.deepEqual((await stream.next()).value.pairs, ['BTC/USDT', '1INCH/USDT'], query)
      stream.close()
    }
  })

  test('the two messages of status 400', async () => {
    for (const [query, error] of [
      ['', 'pairs parameter is required'],
      ['?pairs=', 'pairs parameter is required'],
      ['?pairs=,%20', 'pairs parameter is required'],
      ['?pairs=btc/usd', 'Invalid pairs format. Expected format: BTC/USD'],
      ['?pairs=BTC/USDT,BTC', 'Invalid pairs format. Expected format: BTC/USD'],
      ['?pairs=BTC-USD', 'Invalid pairs format. Expected format: BTC/USD'],
    ]) {
      const { status, body, headers } = await server.get(`/api/market-data/stream${query}`)
      assert.deepEqual([status, body], [400, JSON.stringify({ error })], query)
      assert.match(headers['content-type'], /^application\/json/)
    }
  })

  test('the headers of a stream', async () => {
    const stream = await server.stream('pairs=BTC/USDT')
    const { headers, statusCode } = stream.response
    assert.equal(statusCode, 200)
    assert.match(headers['content-type'], /^text\/event-stream/)
    assert.match(headers['cache-control'], /no-cache/)
    assert.equal(headers.connection, 'keep-alive')
    assert.equal(headers['x-accel-buffering'], 'no')
    stream.close()
  })

  test('connected at once and first, then only unnamed events of one line', async () => {
    const stream = await server.stream('pairs=ETH/USDT,BTC/USDT,NONE/USDT')
    for (let n = 0; n < 6; n++) await stream.next(({ value }) => value?.pair)
    assert.match(stream.blocks[0].text, /^retry: [1-4]\d{3}$/)
    assert.match(stream.blocks[1].text, /^data: \{"type":"connected","pairs":\["ETH\/USDT","BTC\/USDT","NONE\/USDT"\],"timestamp":\d{13}\}$/)
    for (const { text } of stream.blocks.slice(1)) assert.match(text, /^data: \{.*\}$/)
    stream.close()
  })

  test('ten fields in order, numbers, the pair as requested', async () => {
    const stream = await server.stream('pairs=BTC/USDT')
    const { text, value } = await stream.next(({ value }) => value?.pair)
    assert.match(text, /^data: \{"pair":"BTC\/USDT","price":43000.5,"bid":1.5,"ask":2,"high24h":44000,"low24h":41000.25,"change24h":-12.5,"changePercent24h":-0.03,"volume24h":123456789.5,"timestamp":\d{13}\}$/)
    assert.deepEqual(Object.keys(value), FIELDS)
    stream.close()
  })

  test('without day statistics: all ten fields, and the price is the mid price', async () => {
    const stream = await server.stream('pairs=LONE/USDT')
    const { value } = await stream.next(({ value }) => value?.pair)
    assert.deepEqual(Object.keys(value), [...FIELDS, 'statistics'])
    assert.ok(FIELDS.slice(1).every((field) => typeof value[field] === 'number'))
    assert.deepEqual([value.price, value.statistics], [5.75, false])
    stream.close()
  })

  test('X/USD and X/USDT in one stream: a USD book, or the USDT book with a mark', async () => {
    const stream = await server.stream('pairs=BTC/USD,BTC/USDT,SOL/USD,SOL/USDT')
    const found = new Map()
    await until('four pairs', async () => {
      const { value } = await stream.next(({ value }) => value?.pair)
      return found.set(value.pair, value).size === 4
    })
    assert.deepEqual([found.get('BTC/USD').quoteAlias, found.get('BTC/USD').bid], ['USDT', 1.5])
    assert.deepEqual([found.get('BTC/USDT').quoteAlias, found.get('BTC/USDT').bid], [undefined, 1.5])
    assert.deepEqual([found.get('SOL/USD').quoteAlias, found.get('SOL/USD').bid], [undefined, 70])
    assert.deepEqual([found.get('SOL/USDT').quoteAlias, found.get('SOL/USDT').bid], [undefined, 3.5])
    stream.close()
  })

  test('all pairs of a stream in each burst, in order', async () => {
    const pairs = ['BTC/USDT', 'ETH/USDT', 'SOL/USDT']
    const stream = await server.stream(`pairs=${pairs}`)
    const heard = []
    while (heard.length < 18) heard.push((await stream.next(({ value }) => value?.pair)).value.pair)
    for (const round of rounds(heard, 3)) assert.deepEqual(round, pairs)
    stream.close()
  })

  test('raw=1 sends every change at once, the default conflates', async () => {
    const [raw, calm] = [await server.stream('pairs=RAW/USDT&raw=1'), await server.stream('pairs=RAW/USDT')]
    await raw.next(({ value }) => value?.pair)
    for (let n = 1; n <= 50; n++) {
      binance.quote('RAW/USDT', `${n}`, '1000')
      assert.equal((await raw.next(({ value }) => value?.pair)).value.bid, n)
    }
    for (let n = 51; n <= 150; n++) binance.quote('RAW/USDT', `${n}`, '1000')
    await calm.next(({ value }) => value?.bid === 150)
    assert.ok(new Set(calm.blocks.flatMap(({ value }) => value?.bid ?? [])).size < 150)
    raw.close()
    calm.close()
  })

  test('the timestamp of a price is the time now, in milliseconds', async () => {
    const stream = await server.stream('pairs=ETH/USDT')
    const { value } = await stream.next(({ value }) => value?.pair)
    assert.ok(isNow(value.timestamp))
    stream.close()
  })

  test('the timestamp of a quiet pair advances while its connection is live', async () => {
    const stream = await server.stream('pairs=NOW/USDT')
    const first = (await stream.next(({ value }) => value?.pair)).value.timestamp
    // Another pair is quoted on the same connection; this one is not.
    const busy = every(300, () => binance.quote('ETH/USDT', '2.5', '3'))
    await stream.next(({ value }) => value?.timestamp > first + 1500)
    busy()
    stream.close()
  })

  test('a closed stream is removed', async () => {
    const health = async () => (await server.json('/api/market-data/health')).value
    const stream = await server.stream('pairs=GONE/USDT')
    await stream.next()
    const open = await health()
    assert.ok(open.broadcasting.subscribedPairs.includes('GONE/USDT'))
    assert.equal(open.broadcasting.activeSubscriptions, open.broadcasting.subscribedPairs.length)
    assert.ok(open.scaling.activeConnections >= 1)
    stream.close()
    await until('it is forgotten', async () => !(await health()).broadcasting.subscribedPairs.includes('GONE/USDT'))
  })

  test('a browser: EventSource opens, receives unnamed messages, and ignores comments', async () => {
    const source = new EventSource(`http://${server.address}/api/market-data/stream?pairs=${encodeURIComponent('BTC/USDT,ETH/USDT')}`)
    const heard = []
    source.onmessage = (event) => heard.push(JSON.parse(event.data))
    await until('both pairs', () => new Set(heard.map(({ pair }) => pair)).size === 3)
    assert.equal(heard[0].type, 'connected')
    assert.equal(source.readyState, EventSource.OPEN)
    source.close()
  })

  test('comments keep an idle stream open', async () => {
    // The tests of the gateway check the interval of 15 s on a hand-turned clock.
    const stream = await server.stream('pairs=COLD/USDT')
    await stream.next(({ text }) => text.startsWith(':'))
    assert.equal(stream.blocks.filter(({ value }) => value?.pair).length, 0, 'a pair without a quote')
    stream.close()
  })

  test('health: all members, and 200 while there are prices', async () => {
    const { status, headers, value } = await server.json('/api/market-data/health')
    assert.deepEqual([status, value.status], [200, 'healthy'])
    assert.match(headers['cache-control'], /no-cache/)
    const has = (object, shape) => {
      for (const [name, type] of Object.entries(shape)) {
        assert.ok(name in object, name)
        if (typeof type === 'object') has(object[name], type)
        else if (type !== '') assert.equal(Array.isArray(object[name]) ? 'array' : typeof object[name], type, name)
      }
    }
    const cache = { localCacheSize: 'number', redisHealthy: 'boolean' }
    has(value, {
      status: 'string', timestamp: 'number',
      websocket: {
        state: 'string', isLeader: 'boolean', uptime: 'number', connectionAttempts: 'number', consecutiveErrors: 'number',
        subscribedPairs: 'number', totalSubscribers: 'number',
        circuitBreaker: { state: 'string', failureCount: 'number', successCount: 'number', timeSinceLastFailure: 'number' },
      },
      broadcasting: {
        initialized: 'boolean', role: 'string', activeSubscriptions: 'number', subscribedPairs: 'array',
        recovery: { ...cache, oldestCachedPrice: '' },
      },
      errorRecovery: { ...cache, oldestCachedPriceMs: '' },
      leadership: { isLeader: 'boolean', currentLeader: 'string', leaderHostname: 'string' },
      scaling: { activeConnections: 'number', recommendation: 'string', capacityPercentage: 'number' },
      alerts: 'array',
    })
    assert.ok(Number.isInteger(value.scaling.capacityPercentage) && Number.isInteger(value.timestamp))
    assert.equal(value.scaling.recommendation, 'HEALTHY')
    assert.equal(value.websocket.state, 'connected')
    assert.ok(['leader', 'follower'].includes(value.broadcasting.role))
    assert.equal(value.broadcasting.role === 'leader', value.leadership.isLeader, 'one truth about the role')
  })

  test('the prices page: keys as requested, milliseconds, no-store, no unknown pairs', async () => {
    const { status, headers, body } = await server.get('/api/market-data/prices?pairs=BTC%2FUSD,BTC/USDT,UNKNOWN/USDT')
    assert.equal(status, 200)
    assert.equal(headers['cache-control'], 'no-store')
    const value = JSON.parse(body)
    assert.deepEqual(Object.keys(value), ['BTC/USD', 'BTC/USDT'])
    assert.equal(value['BTC/USD'].pair, 'BTC/USD', 'the pair inside is its key')
    assert.deepEqual(Object.keys(value['BTC/USDT']), ['pair', 'price', 'volume', 'timestamp', 'change24h', 'high24h', 'low24h', 'bid', 'ask'])
    assert.equal(value['BTC/USDT'].change24h, -0.03, 'in percent')
    assert.ok(isNow(value['BTC/USDT'].timestamp))
  })

  test('the prices page: 400 with two messages, 503 without prices', async () => {
    const json = async (query) => {
      const { status, value } = await server.json(`/api/market-data/prices${query}`)
      return [status, value]
    }
    assert.deepEqual(await json(''), [400, { error: 'Missing pairs parameter' }])
    assert.deepEqual(await json('?pairs=,,'), [400, { error: 'No valid pairs provided' }])
    const [status, cold] = await json('?pairs=COLD/USDT')
    assert.equal(status, 503)
    assert.deepEqual(Object.keys(cold), ['error', 'message', 'unavailablePairs'])
    assert.deepEqual(cold.unavailablePairs, ['COLD/USDT'])
  })

  test('one symbol on several exchanges, with the analysis', async () => {
    const { status, value } = await server.json('/api/exchanges/prices?symbol=BTC/USDT&exchanges=binance,okx')
    assert.equal(status, 200)
    assert.deepEqual(Object.keys(value), ['symbol', 'timestamp', 'prices', 'analysis'])
    assert.deepEqual(Object.keys(value.prices), ['binance', 'okx'])
    assert.deepEqual(Object.keys(value.prices.okx), ['symbol', 'exchange', 'bid', 'ask', 'last', 'volume', 'timestamp'])
    const { best_bid, best_ask, spread, spread_pct, sources } = value.analysis
    assert.deepEqual([best_bid, best_ask, spread, sources], [1.6, 2, 0.4, 2])
    assert.equal(spread_pct, 25)
    const one = await server.json('/api/exchanges/prices?symbol=ETH/USDT&exchanges=okx,binance')
    assert.equal(one.value.prices.okx, null)
    assert.equal((await server.get('/api/exchanges/prices?symbol=NONE/USDT')).status, 404)
    assert.equal((await server.get('/api/exchanges/prices')).status, 400)
  })

  test('the five paths need no authentication and are readable from other origins', async () => {
    for (const path of ['/api/websocket/stats', '/api/market-data/health', '/api/market-data/prices?pairs=BTC/USDT']) {
      const { status, headers } = await server.get(path, { headers: { origin: 'https://elsewhere.example' } })
      assert.deepEqual([status, headers['access-control-allow-origin']], [200, '*'], path)
    }
    const stream = await server.stream('pairs=BTC/USDT')
    assert.equal(stream.response.statusCode, 200)
    stream.close()
    await (await server.client()).close()
  })
})

describe('in trouble', { concurrency: true }, () => {
  test('above the limit of streams: 503 with message and Retry-After; EventSource gives up', async () => {
    const server = await serve('venues = ["binance"]\n[gateway]\nstreams_max = 1\n[venue.binance]\naddress = "ws://127.0.0.1:1/"\n')
    const { headers, value } = await server.json('/api/market-data/health')
    assert.deepEqual([headers['x-spreadwire-source'], value.venues[0].source], ['none', null], 'nothing is live that never was connected')
    const first = await server.stream('pairs=BTC/USDT')
    await first.next()
    const refused = await server.get('/api/market-data/stream?pairs=BTC/USDT')
    assert.deepEqual([refused.status, refused.body], [503, '{"error":"Service temporarily at capacity. Please try again in a moment."}'])
    assert.ok(Number(refused.headers['retry-after']) > 0)
    const source = new EventSource(`http://${server.address}/api/market-data/stream?pairs=BTC/USDT`)
    await until('the end', () => source.readyState === EventSource.CLOSED)
    // The closed stream no longer counts.
    first.close()
    await until('a free place', async () => (await server.json('/api/market-data/health')).value.scaling.activeConnections === 0)
    const second = await Stream.open(server.address, '/api/market-data/stream?pairs=BTC/USDT')
    assert.equal(second.response.statusCode, 200)
    await server.stop()
  })

  test('without a fresh price health is 503 with the reason; streams still open with 200', async () => {
    const venue = await Venue.open('binance')
    const server = await serveOn([venue], ['BTC/USDT'], '[feed]\nbackoff_first_ms = 50\nbackoff_max_ms = 200')
    const health = async () => server.json('/api/market-data/health')
    const cold = await health()
    assert.deepEqual([cold.status, cold.value.status], [503, 'degraded'])
    assert.ok(cold.value.alerts.includes('No fresh price from any exchange'), cold.value.alerts)
    const stream = await server.stream('pairs=BTC/USDT')
    assert.equal((await stream.next()).value.type, 'connected', 'a late start instead of a refusal')
    venue.quote('BTC/USDT', '1', '2')
    venue.day('BTC/USDT', DAY)
    await stream.next(({ value }) => value?.pair)
    await until('health', async () => (await health()).status === 200)
    venue.lose()
    const lost = await until('errors', async () => {
      const reply = await health()
      return reply.status === 503 && reply.value.websocket.consecutiveErrors > 3 && reply
    })
    assert.equal(lost.value.status, 'degraded')
    assert.ok(lost.value.alerts.some((text) => /^High error rate: \d+ consecutive errors: binance$/.test(text)), lost.value.alerts)
    assert.ok(lost.value.alerts.some((text) => text.startsWith('Exchange binance is ')), lost.value.alerts)
    assert.equal((await server.get('/livez')).status, 200, 'blind is not dead')
    venue.accept()
    await until('health again', async () => (await health()).status === 200)
    await server.stop()
    venue.close()
  })

  test('a browser reconnects automatically after a restart', async () => {
    const venue = await Venue.open('binance')
    venue.quote('BTC/USDT', '1', '2')
    venue.day('BTC/USDT', DAY)
    const server = await serveOn([venue], ['BTC/USDT'])
    const source = new EventSource(`http://${server.address}/api/market-data/stream?pairs=BTC/USDT`)
    const heard = []
    source.onmessage = (event) => heard.push(JSON.parse(event.data))
    await until('a price', () => heard.some(({ pair }) => pair))
    await server.stop()
    await until('the loss noticed', () => source.readyState === EventSource.CONNECTING)
    heard.length = 0
    const again = await serveOn([venue], ['BTC/USDT'], '', { port: Number(server.address.split(':')[1]) })
    await until('a price again', () => heard.some(({ pair }) => pair))
    assert.equal(heard[0].type, 'connected')
    source.close()
    await again.stop()
    venue.close()
  })
})
