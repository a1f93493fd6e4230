// The simulator and the gateway as two processes, many clients at once, and clients that misbehave.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { Client, Server, Venue, every, serve, serveOn, until } from './rig.js'

/** Settings of a gateway that pings often and does not close a client whose pong is late. */
const PINGS = 'ping_ms = 1000\npong_wait_ms = 600_000'
const EXCHANGES = ['binance', 'coinbase', 'kraken', 'bybit', 'kucoin', 'okx']

describe('two processes and many clients', { concurrency: true }, () => {
  test('sim and serve: six exchanges in their own formats, and every output is labelled simulated', async () => {
    const sim = await Server.start(['sim', '--listen', '127.0.0.1:0', '--venues', EXCHANGES.join(',')])
    const addresses = () => [...sim.stdout.matchAll(/^ {2}(\w+) +(\S+:\/\/\S+)$/gm)]
    await until('the addresses', () => addresses().length === 6)
    const sections = addresses().map(([, name, address]) => `[venue.${name}]\naddress = "${address}"\n`)
    const server = await serve(`venues = ${JSON.stringify(EXCHANGES)}\n[gateway]\n${PINGS}\n${sections.join('')}`)
    const client = await server.client()
    await client.subscribe(['BTC/USDT'], EXCHANGES, { extended: true })
    await until('all six', () => new Set(client.heard.map(({ value }) => value.exchange)).size > 6)
    for (const { value } of client.heard.filter(({ value }) => value.type === 'price')) assert.equal(value.source, 'simulated')
    const health = await until('health', async () => {
      const reply = await server.json('/api/market-data/health')
      return reply.status === 200 && reply.headers['x-spreadwire-source'] === 'simulated' && reply
    })
    assert.ok(health.value.venues.every(({ source, freshPairs }) => source === 'simulated' && freshPairs > 0))
    assert.match((await server.get('/api')).body, /<strong>simulated<\/strong>/)
    const later = await server.client()
    assert.equal(later.response.headers['x-spreadwire-source'], 'simulated', 'on the upgrade too')
    await later.close()
    // The simulator stops: each price is marked stale once, and then nothing is sent.
    assert.equal(await sim.stop(), 0)
    await until('status 503', async () => (await server.get('/api/market-data/health')).status === 503)
    await client.silence()
    for (const exchange of EXCHANGES) {
      const states = client.heard.flatMap(({ value }) => (value.type === 'price' && value.exchange === exchange ? [value.state] : []))
      assert.deepEqual(states.slice(-2), ['fresh', 'stale'], exchange)
    }
    await client.close()
    assert.equal(await server.stop(), 0)
  })

  test('five hundred clients at once: each has its prices, and all have the one alert', async () => {
    const venues = [await Venue.open('binance'), await Venue.open('okx')]
    const [binance, okx] = venues
    const server = await serveOn(venues, ['BTC/USDT', 'ETH/USDT'])
    const stop = every(200, () => {
      binance.quote('BTC/USDT', '99', '100')
      okx.quote('BTC/USDT', '99', '100')
    })
    const clients = await Promise.all(Array.from({ length: 500 }, () => server.client()))
    clients.forEach((client) => client.send({ action: 'subscribe', symbols: ['BTC/USDT', 'ETH/USDT'], exchanges: ['binance', 'okx'] }))
    const has = (type) => (client) => client.heard.some(({ value }) => value.type === type)
    await until('a price each', () => clients.every(has('price')))
    const { stats } = (await server.json('/api/websocket/stats')).value
    assert.deepEqual(stats, { clientCount: 500, totalSubscriptions: 2000, uniqueSymbols: 2, uniqueExchanges: 2 })
    stop()
    binance.quote('ETH/USDT', '99', '100')
    okx.quote('ETH/USDT', '102', '103')
    await until('the alert each', () => clients.every(has('arbitrage')))
    assert.ok(clients.every((client) => client.heard[0].value.type === 'subscribed'))
    assert.ok(clients.every((client) => client.heard.filter(({ value }) => value.type === 'arbitrage').length === 1))
    await Promise.all(clients.map((client) => client.close()))
    await until('all forgotten', async () => (await server.json('/api/websocket/stats')).value.stats.clientCount === 0)
    await server.stop()
    venues.forEach((venue) => venue.close())
  })

  test('clients that open and drop sockets in a loop do not affect others', async () => {
    const venue = await Venue.open('binance')
    const server = await serveOn([venue], ['BTC/USDT'])
    venue.quote('BTC/USDT', '1', '2')
    const good = await server.client()
    await good.subscribe(['BTC/USDT'], ['binance'])
    for (let round = 0; round < 10; round++) {
      const opened = await Promise.all(Array.from({ length: 50 }, () => server.client()))
      opened.forEach((client) => {
        client.send({ action: 'subscribe', symbols: ['BTC/USDT'], exchanges: ['binance'] })
        client.socket.terminate()
      })
    }
    await until('only the good one left', async () => (await server.json('/api/websocket/stats')).value.stats.clientCount === 1)
    await good.soFar()
    await good.take(2, 'price')
    await good.close()
    await server.stop()
    venue.close()
  })

  test('pings are frames, not messages; a client that does not answer is closed', async () => {
    const server = await serve('venues = ["binance"]\n[gateway]\nping_ms = 1000\npong_wait_ms = 10_000\n[venue.binance]\naddress = "ws://127.0.0.1:1/"\n')
    const url = `ws://${server.address}/ws/prices`
    const [answers, silent] = [await Client.open(url), await Client.open(url, { autoPong: false })]
    let pings = 0
    answers.socket.on('ping', () => pings++)
    await silent.closed
    await until('a second ping', () => pings >= 2)
    assert.deepEqual([answers.heard, silent.heard], [[], []])
    assert.equal(answers.socket.readyState, 1)
    await answers.close()
    await server.stop()
  })

  test('several gateway threads serve the same data', async () => {
    const venues = [await Venue.open('binance'), await Venue.open('okx')]
    const [binance, okx] = venues
    const server = await serveOn(venues, ['BTC/USDT'], '[gateway]\nthreads = 3\nstreams_max = 2')
    binance.quote('BTC/USDT', '99', '100')
    const clients = await Promise.all(Array.from({ length: 30 }, () => server.client()))
    await Promise.all(clients.map((client) => client.subscribe(['BTC/USDT'], ['binance'])))
    await Promise.all(clients.map((client) => client.next('price')))
    const stats = async () => (await server.json('/api/websocket/stats')).value.stats
    // Each thread publishes its counts at the end of a turn, and its names a few times a second.
    const all = { clientCount: 30, totalSubscriptions: 30, uniqueSymbols: 1, uniqueExchanges: 1 }
    await until('the totals of all threads', async () => isDeepStrictEqual(await stats(), all))
    okx.quote('BTC/USDT', '102', '103')
    await Promise.all(clients.map((client) => client.next('arbitrage')))
    const stream = await server.stream('pairs=BTC/USDT')
    await stream.next()
    // The count, the pairs and the limit of streams are the same on every thread.
    await until('one answer of all', async () => {
      const health = await Promise.all(Array.from({ length: 12 }, () => server.json('/api/market-data/health')))
      return health.every(({ value: { scaling, broadcasting } }) => scaling.activeConnections === 1 && broadcasting.subscribedPairs.join() === 'BTC/USDT')
    })
    const second = await server.stream('pairs=ETH/USDT')
    await second.next()
    await until('the count on every thread', async () => {
      const health = await Promise.all(Array.from({ length: 12 }, () => server.json('/api/market-data/health')))
      return health.every(({ value }) => value.scaling.activeConnections === 2)
    })
    for (let n = 0; n < 12; n++) assert.equal((await server.get('/api/market-data/stream?pairs=BTC/USDT')).status, 503)
    stream.close()
    second.close()
    await Promise.all(clients.map((client) => client.close()))
    await server.stop()
    venues.forEach((venue) => venue.close())
  })
})
