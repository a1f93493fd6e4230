import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Board } from '../src/core/board.js'
import { Connection, type Hold, type Interest } from '../src/core/connection.js'
import { FakeGateway, holdTime } from './rig.js'

let gateway: FakeGateway
let connection: Connection
let board: Board
let notified: number
let holding: Hold
const pass = (ms: number) => vi.advanceTimersByTime(ms)
const PANEL: Interest = { symbols: ['BTC/USDT', 'ETH/USDT'], exchanges: ['binance', 'okx'] }
const freshness = () => board.price('BTC/USDT', 'okx')?.freshness

function begin(interest = PANEL) {
  gateway = new FakeGateway()
  connection = new Connection('ws://gateway/ws/prices', { WebSocket: gateway.WebSocket, random: () => 0.5 })
  board = new Board(connection)
  notified = 0
  board.subscribe(() => notified++)
  holding = connection.hold(interest)
  pass(50)
}

beforeEach(() => {
  holdTime()
  // Frames as in a browser.
  vi.stubGlobal('requestAnimationFrame', (call: () => void) => setTimeout(call, 16))
  vi.stubGlobal('cancelAnimationFrame', clearTimeout)
  begin()
})
afterEach(() => {
  connection.disconnect()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe('a gateway that freezes', () => {
  beforeEach(() => {
    connection.disconnect()
    begin({ ...PANEL, intervalMs: 0, opportunities: true, books: [{ symbol: 'BTC/USDT', exchange: 'okx' }] })
    gateway.price('BTC/USDT', 'okx', 1, 2)
    gateway.book('BTC/USDT', 'okx', 5)
    gateway.opportunity('opened', '1', 2)
    gateway.alert('BTC/USDT', 'binance', 'okx', 2)
    pass(20)
    gateway.answers = false
  })
  const seen = () => ({
    price: freshness(),
    book: board.book('BTC/USDT', 'okx')?.state,
    state: board.status.state,
    isConnected: board.status.isConnected,
    open: board.open.length,
    lasting: board.lasting('BTC/USDT').length,
  })
  const LIVE = { price: 'fresh', book: 'live', state: 'connected', isConnected: true, open: 1, lasting: 1 }

  test('all its data becomes stale at once, five seconds later', () => {
    pass(4800)
    expect(seen()).toEqual(LIVE)
    pass(300)
    expect(seen()).toEqual({ price: 'stale', book: 'stale', state: 'silent', isConnected: false, open: 0, lasting: 0 })
    expect(board.book('BTC/USDT', 'okx')!.bids.length, 'the last known levels').toBe(5)
  })

  test('the next message makes the data current again', () => {
    pass(6000)
    gateway.price('ETH/USDT', 'okx', 1, 2)
    gateway.answers = true
    pass(20)
    expect(seen()).toEqual(LIVE)
    expect(gateway.sockets.length).toBe(1)
  })

  test('after the connection is dropped, no data is left', () => {
    pass(15_100)
    expect(seen()).toMatchObject({ price: 'stale', book: undefined, state: 'waiting', open: 0 })
  })

  test('a quiet gateway that answers keeps its data current', () => {
    gateway.answers = true
    pass(25_000)
    expect(seen()).toEqual(LIVE)
  })
})

describe('frames', () => {
  test('10,000 updates in a second notify at most once per frame, and the last one is shown', () => {
    notified = 0
    for (let n = 0; n < 10_000; n++) {
      gateway.price('BTC/USDT', n % 2 ? 'okx' : 'binance', 1 + n / 10_000, 3)
      if (n % 10 === 0) pass(1)
    }
    pass(20)
    expect(notified).toBeLessThanOrEqual(1020 / 16)
    expect(notified).toBeGreaterThan(50)
    expect(board.price('BTC/USDT', 'okx')!.bid).toBe(1.9999)
  })

  test('a single change is published with the next frame, and no further notification follows', () => {
    pass(1000)
    notified = 0
    gateway.price('BTC/USDT', 'okx', 1, 2)
    expect(notified).toBe(0)
    pass(16)
    expect(notified).toBe(1)
    pass(400)
    expect(notified).toBe(1)
  })

  test('between two frames values are the same objects', () => {
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(16)
    const before = board.price('BTC/USDT', 'okx')
    gateway.price('BTC/USDT', 'okx', 1.5, 2)
    expect(board.price('BTC/USDT', 'okx')).toBe(before)
    pass(16)
    expect(board.price('BTC/USDT', 'okx')).toMatchObject({ bid: 1.5, ask: 2, midPrice: 1.75 })
    expect(before!.bid).toBe(1)
  })

  test('a hidden page without frames is notified by a timer', () => {
    connection.disconnect()
    vi.stubGlobal('requestAnimationFrame', () => 1)
    begin()
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(260)
    expect(board.price('BTC/USDT', 'okx')?.bid).toBe(1)
  })

  test('a platform without frames is notified by a timer', () => {
    connection.disconnect()
    vi.stubGlobal('requestAnimationFrame', undefined)
    begin()
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    expect(board.price('BTC/USDT', 'okx')?.bid).toBe(1)
  })
})

describe('freshness', () => {
  test('a price is stale after two beats without a message, fresh with the next, gone after half a minute', () => {
    for (let n = 0; n < 10; n++) {
      gateway.price('BTC/USDT', 'okx', 1, 2)
      pass(500)
      expect(freshness()).toBe('fresh')
    }
    pass(1300)
    expect(freshness()).toBe('stale')
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    expect(freshness()).toBe('fresh')
    pass(29_000)
    expect(freshness()).toBe('stale')
    pass(2000)
    expect(freshness()).toBe('gone')
  })

  test('the requested beat counts', () => {
    connection.disconnect()
    begin({ ...PANEL, intervalMs: 3000 })
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(6000)
    expect(freshness()).toBe('fresh')
    pass(1000)
    expect(freshness()).toBe('stale')
  })

  test('a slow beat does not make an old price fresh', () => {
    connection.disconnect()
    begin({ ...PANEL, intervalMs: 60_000 })
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(31_000)
    expect(freshness()).toBe('fresh')
    pass(2000)
    expect(freshness()).not.toBe('fresh')
  })

  test('without a beat a quiet price stays fresh until the gateway sends a notice', () => {
    connection.disconnect()
    begin({ ...PANEL, intervalMs: 0 })
    gateway.price('BTC/USDT', 'okx', 1, 2, { state: 'fresh' })
    pass(20_000)
    expect(freshness()).toBe('fresh')
    gateway.price('BTC/USDT', 'okx', 1, 2, { state: 'stale' })
    pass(20)
    expect(freshness()).toBe('stale')
  })

  test.each(['stale', 'suspect', 'cached'])('what the gateway calls %s is not fresh, and the numbers stay', (state) => {
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    gateway.price('BTC/USDT', 'okx', 1.5, 2, { state })
    pass(20)
    expect(board.price('BTC/USDT', 'okx')).toMatchObject({ freshness: 'stale', bid: 1.5, state })
  })

  test('a lost connection makes everything stale at once', () => {
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    gateway.socket.drop(1006)
    pass(20)
    expect([freshness(), board.status.isConnected]).toEqual(['stale', false])
  })

  test('a step of the wall clock has no effect', () => {
    gateway.price('BTC/USDT', 'okx', 1, 2, { timestamp: 1 })
    pass(20)
    vi.setSystemTime(Date.now() + 86_400_000)
    pass(300)
    expect(freshness()).toBe('fresh')
  })
})

describe('retained state', () => {
  test('a price is removed with its last holder, and a message in flight does not restore it', () => {
    gateway.price('BTC/USDT', 'okx', 1, 2)
    gateway.price('ETH/USDT', 'okx', 3, 4)
    pass(20)
    const eth = connection.hold({ symbols: ['ETH/USDT'], exchanges: ['okx'] })
    holding.end()
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    expect(board.price('BTC/USDT', 'okx')).toBeUndefined()
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    expect(board.price('BTC/USDT', 'okx')).toBeUndefined()
    expect(board.price('ETH/USDT', 'okx')).toBeDefined()
    eth.end()
    pass(2000)
    expect(board.price('ETH/USDT', 'okx')).toBeUndefined()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('the last hundred alerts, newest first, of subscribed symbols only', () => {
    for (let n = 0; n < 2500; n++) {
      gateway.alert('BTC/USDT', 'binance', 'okx', 1 + n)
      if (n % 700 === 0) pass(20)
    }
    gateway.alert('DOGE/USDT', 'binance', 'okx', 9)
    pass(20)
    expect(board.alerts('BTC/USDT').map(({ spreadPct }) => spreadPct)).toEqual(Array.from({ length: 100 }, (_, n) => 2500 - n))
    expect(board.alerts('DOGE/USDT')).toEqual([])
  })

  test('an alert is current until a newer one of its route, for ninety seconds, until its end or the loss of the connection', () => {
    const spreads = () => board.lasting('BTC/USDT').map(({ spreadPct }) => spreadPct)
    gateway.alert('BTC/USDT', 'binance', 'okx', 2.5)
    gateway.alert('BTC/USDT', 'okx', 'binance', 0.7)
    pass(20)
    expect(spreads()).toEqual([2.5, 0.7])
    pass(60_000)
    gateway.alert('BTC/USDT', 'binance', 'okx', 0.6)
    pass(20)
    expect(spreads()).toEqual([0.6, 0.7])
    pass(31_000)
    expect(spreads()).toEqual([0.6])
    gateway.opportunity('closed', '1', 0.6)
    pass(20)
    expect(spreads()).toEqual([])
    gateway.alert('BTC/USDT', 'binance', 'okx', 3)
    pass(20)
    gateway.socket.drop(1006)
    pass(20)
    expect(spreads()).toEqual([])
    expect(board.alerts('BTC/USDT').length, 'the list is what happened').toBe(4)
  })

  test('opportunities are open from opened to closed', () => {
    gateway.opportunity('opened', 'a', 0.6)
    gateway.opportunity('opened', 'b', 0.8)
    gateway.opportunity('updated', 'a', 0.9)
    pass(20)
    expect(board.open.map(({ id, spreadPct }) => [id, spreadPct])).toEqual([
      ['a', 0.9],
      ['b', 0.8],
    ])
    gateway.opportunity('closed', 'a', 0.1, { peakSpreadPct: 0.9 })
    pass(20)
    expect(board.open.map(({ id }) => id)).toEqual(['b'])
    expect(board.closed).toMatchObject([{ id: 'a', change: 'closed', peakSpreadPct: 0.9 }])
  })

  test('without a connection no opportunity is known to be open, and none is reported closed', () => {
    gateway.opportunity('opened', 'a', 0.6)
    pass(20)
    gateway.socket.drop(1006)
    pass(20)
    expect([board.open, board.closed]).toEqual([[], []])
    pass(1000)
    gateway.opportunity('opened', 'a', 0.6)
    pass(20)
    expect(board.open.length).toBe(1)
  })

  test('closed opportunities are bounded', () => {
    for (let n = 0; n < 250; n++) {
      gateway.opportunity('opened', `${n}`, 1)
      gateway.opportunity('closed', `${n}`, 1)
      if (n % 60 === 0) pass(20)
    }
    pass(20)
    expect(board.closed.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, n) => `${249 - n}`))
    expect(board.open).toEqual([])
  })
})
