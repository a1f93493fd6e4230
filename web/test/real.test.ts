// The core in Node against the real gateway.
import { EventSource } from 'eventsource'
import { describe, test, type TestContext } from 'vitest'
import { WebSocket } from 'ws'
import {
  Board,
  Connection,
  PairStream,
  PolledPage,
  pageUrl,
  socketUrl,
  type Environment,
  type ServerMessage,
  type reports,
} from '../src/core/index.js'
import { watchedOf } from '../dashboard/room.js'
import { limitsOf } from '../src/core/limits.js'
import { PATIENCE, demo, until } from './gateway.js'

const NODE: Partial<Environment> = { WebSocket, EventSource }
const EXCHANGES = ['binance', 'coinbase', 'kraken', 'bybit', 'kucoin', 'okx']
const TYPES = ['price', 'arbitrage', 'opportunity', 'subscribed', 'unsubscribed', 'error'] as const

function connect(address: string, { onTestFinished }: TestContext) {
  const connection = new Connection(socketUrl(`http://${address}`)!, NODE)
  onTestFinished(() => connection.disconnect())
  const heard: ServerMessage[] = []
  const unread: unknown[] = []
  for (const type of TYPES) connection.on(type, (message) => heard.push(message))
  connection.on('unread', (frame) => unread.push(frame))
  return { connection, heard, unread, board: new Board(connection) }
}

describe.concurrent('the real gateway', () => {
  test('every frame is read: prices of all exchanges, alerts, replies, extended and plain', { timeout: PATIENCE * 4 }, async (context) => {
    const { expect } = context
    const { address } = await demo(context)
    const { connection, heard, unread, board } = connect(address, context)
    const plain = connection.hold({ symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'], exchanges: EXCHANGES })
    await until('all six fresh', () => EXCHANGES.every((exchange) => board.price('BTC/USDT', exchange)?.freshness === 'fresh'))
    await until('an alert', () => heard.some(({ type }) => type === 'arbitrage'))
    expect(board.price('BTC/USDT', 'okx')).not.toHaveProperty('seq')

    connection.hold({ symbols: ['BTC/USDT'], exchanges: ['okx'], extended: true, intervalMs: 50 })
    await until('more of it', () => board.price('BTC/USDT', 'okx')?.seq)
    expect(board.price('BTC/USDT', 'okx')).toMatchObject({ source: 'simulated', freshness: 'fresh' })
    plain.end()
    const less = await until('less of it', () => heard.find(({ type }) => type === 'unsubscribed'))
    expect(less).toMatchObject({ symbols: ['BTC/USDT'], exchanges: ['okx'] })
    await until('the others to leave', () => board.price('ETH/USDT', 'okx') === undefined)

    connection.hold({ symbols: ['BTC/USDT'], exchanges: Array.from({ length: 1100 }, (_, n) => `x${n}`) })
    const error = await until('a limit', () => heard.find(({ type }) => type === 'error'))
    expect(error).toMatchObject({ message: expect.stringMatching(/^Too many/) })
    expect(connection.state).toBe('connected')
    expect(unread).toEqual([])
  })

  test('opportunities from opened to closed', { timeout: PATIENCE * 4 }, async (context) => {
    const { expect, onTestFinished } = context
    const { address } = await demo(context)
    const { connection, board, unread } = connect(address, context)
    const page = new PolledPage(pageUrl('/api/instruments', `http://${address}`)!)
    onTestFinished(page.subscribe(() => {}, 1000))
    const { instruments } = (await until('the instruments', () => page.view.value)) as reports.Instruments
    connection.hold({ symbols: instruments.map(({ symbol }) => symbol), opportunities: true })
    const closed = await until('one to close', () => board.closed[0])
    expect(closed).toMatchObject({ change: 'closed', source: 'simulated' })
    expect(closed.peakSpreadPct).toBeGreaterThan(0.5)
    expect(closed.livedMs).toBeLessThanOrEqual(closed.timestamp - closed.openedAt + 1000)
    expect(board.open.some(({ id }) => id === closed.id)).toBe(false)
    expect(unread).toEqual([])
  })

  test('the dashboard watches as much as the gateway allows, and no request is rejected', { timeout: PATIENCE * 4 }, async (context) => {
    const { expect, onTestFinished } = context
    for (const [pairs, symbols] of [
      ['20', 3],
      ['40', 6],
      ['60', 9],
    ] as const) {
      const { address } = await demo(context, '127.0.0.1:0', { SPREADWIRE_GATEWAY_PAIRS_MAX: pairs })
      const pages = (['/api/instruments', '/api/status'] as const).map((path) => new PolledPage(pageUrl(path, `http://${address}`)!))
      pages.forEach((page) => onTestFinished(page.subscribe(() => {}, 1000)))
      const [{ instruments }, { limits }] = (await until(
        'both pages',
        () => pages.every(({ view }) => view.value) && pages.map(({ view }) => view.value),
      )) as [reports.Instruments, reports.Status]
      expect(limitsOf(limits)).toEqual({ pairs: Number(pairs), names: 1024, name: 64, bytes: 48 * 1024 })
      const watched = watchedOf(instruments, limitsOf(limits))
      expect([watched.symbols.length, watched.exchanges.length, watched.beyond]).toEqual([symbols, 6, 9 - symbols])
      const { connection, heard } = connect(address, context)
      connection.hold({ symbols: watched.symbols, exchanges: watched.exchanges })
      await until(
        'a price of each',
        () => new Set(heard.filter((message) => message.type === 'price').map(({ symbol }) => symbol)).size === symbols,
      )
      expect(heard.filter(({ type }) => type === 'error')).toEqual([])
    }
  })

  test('a gateway whose status has no limits is assumed to have the defaults', ({ expect }) => {
    const usual = { pairs: 4096, names: 1024, name: 64, bytes: 48 * 1024 }
    expect(limitsOf({ pairsMax: 100, beatMs: 500 })).toEqual({ ...usual, pairs: 100 })
    expect(limitsOf()).toEqual(usual)
    const instruments = Array.from({ length: 1500 }, (_, n) => ({ symbol: `S${n}/USDT`, exchanges: ['a', 'b', 'c'] }))
    expect(watchedOf(instruments, limitsOf()).symbols.length).toBe(1024)
  })

  test(
    '1,500 symbols on 6 exchanges: what fits is subscribed, with one error, and the connection stays open',
    { timeout: PATIENCE * 4 },
    async (context) => {
      const { expect, onTestFinished } = context
      const { address } = await demo(context)
      const connection = new Connection(socketUrl(`http://${address}`)!, NODE)
      onTestFinished(() => connection.disconnect())
      const errors: string[] = []
      const states: string[] = []
      const asked: string[][] = []
      connection.on('error', ({ message }) => errors.push(message))
      connection.on('state', (state) => states.push(state))
      connection.on('subscribed', ({ symbols, exchanges }) => asked.push([...symbols, ...exchanges]))
      const priced = new Set<string>()
      connection.on('price', ({ exchange }) => priced.add(exchange))
      const names = Array.from({ length: 1499 }, (_, n) => `S${n}/USDT`)
      const hold = connection.hold({ symbols: ['BTC/USDT', ...names], exchanges: EXCHANGES })
      await until('all that fits', () => asked.at(-1)?.length === 682 + 6)
      await until('prices of all', () => priced.size === 6)
      expect(errors).toEqual(['Too many pairs: at most 4096 symbols times exchanges'])
      expect(connection.error).toBe(errors[0])
      // The smaller subscription is complete, and the error is gone.
      connection.hold({ symbols: ['BTC/USDT'], exchanges: EXCHANGES })
      hold.end()
      await until('the rest', () => asked.length > 0 && connection.error === null)
      expect(
        states.filter((state) => state === 'connecting'),
        'one connection all the time',
      ).toEqual(['connecting'])
    },
  )

  test(
    'a restart: stale at once, then reconnected and subscribed as before with one request',
    { timeout: PATIENCE * 4 },
    async (context) => {
      const { expect } = context
      const first = await demo(context)
      const { connection, heard, board, unread } = connect(first.address, context)
      connection.hold({ symbols: ['BTC/USDT'], exchanges: ['okx'] })
      const price = () => board.price('BTC/USDT', 'okx')
      await until('a price', () => price()?.freshness === 'fresh')
      await first.stop()
      await until('staleness', () => price()?.freshness === 'stale')
      expect(board.status.isConnected).toBe(false)
      heard.length = 0
      const second = await demo(context, first.address)
      await until('a price again', () => price()?.freshness === 'fresh')
      expect(heard.filter(({ type }) => type === 'subscribed')).toEqual([
        { type: 'subscribed', symbols: ['BTC/USDT'], exchanges: ['okx'], message: 'Successfully subscribed' },
      ])
      expect(unread).toEqual([])
      await second.stop()
    },
  )

  test('the stream sends every pair in each burst, also after a restart; pages are polled', { timeout: PATIENCE * 4 }, async (context) => {
    const { expect, onTestFinished } = context
    const first = await demo(context)
    const pairs = ['BTC/USD', 'BTC/USDT', 'ETH/USDT']
    const feed = new PairStream(`http://${first.address}`, NODE).feed(pairs)
    onTestFinished(feed.subscribe(() => {}))
    const complete = () => feed.view.status === 'connected' && pairs.every((pair) => feed.view.prices.has(pair))
    await until('all pairs', complete)
    const health = new PolledPage(pageUrl('/api/market-data/health', `http://${first.address}`)!)
    onTestFinished(health.subscribe(() => {}, 200))
    await until('health', () => health.view.status === 200)
    expect(health.view.value).toMatchObject({ status: 'healthy' })
    await first.stop()
    await until('the loss', () => feed.view.status === 'error' && feed.view.stalePairs.length === 3 && health.view.error)
    const second = await demo(context, first.address)
    await until('all pairs again', () => complete() && feed.view.stalePairs.length === 0)
    await until('health again', () => health.view.status === 200)
    await second.stop()
  })
})
