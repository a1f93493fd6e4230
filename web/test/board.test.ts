import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Board } from '../src/core/board.js'
import { Connection, type Hold, type Interest } from '../src/core/connection.js'
import { FakeGateway, holdTime } from './rig.js'

let gateway: FakeGateway
let connection: Connection
let board: Board
let told: number
let holding: Hold
const pass = (ms: number) => vi.advanceTimersByTime(ms)
const PANEL: Interest = { symbols: ['BTC/USDT', 'ETH/USDT'], exchanges: ['binance', 'okx'] }
const freshness = () => board.price('BTC/USDT', 'okx')?.freshness

function begin(interest = PANEL) {
  gateway = new FakeGateway()
  connection = new Connection('ws://gateway/ws/prices', { WebSocket: gateway.WebSocket, random: () => 0.5 })
  board = new Board(connection)
  told = 0
  board.subscribe(() => told++)
  holding = connection.hold(interest)
  pass(50)
}

beforeEach(() => {
  holdTime()
  // Frames as a browser has them.
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

  test('nothing of it is current any more, all at once, five seconds later', () => {
    pass(4800)
    expect(seen()).toEqual(LIVE)
    pass(300)
    expect(seen()).toEqual({ price: 'stale', book: 'stale', state: 'silent', isConnected: false, open: 0, lasting: 0 })
    expect(board.book('BTC/USDT', 'okx')!.bids.length, 'the last known levels').toBe(5)
  })

  test('it goes on where it was with the next word', () => {
    pass(6000)
    gateway.price('ETH/USDT', 'okx', 1, 2)
    gateway.answers = true
    pass(20)
    expect(seen()).toEqual(LIVE)
    expect(gateway.sockets.length).toBe(1)
  })

  test('given up at last, nothing is left of it', () => {
    pass(15_100)
    expect(seen()).toMatchObject({ price: 'stale', book: undefined, state: 'waiting', open: 0 })
  })

  test('while there is nothing to say it answers, and all stays as it is', () => {
    gateway.answers = true
    pass(25_000)
    expect(seen()).toEqual(LIVE)
  })
})

describe('frames', () => {
  test('10,000 updates in a second are told at most once a frame, and the last one is what stays', () => {
    told = 0
    for (let n = 0; n < 10_000; n++) {
      gateway.price('BTC/USDT', n % 2 ? 'okx' : 'binance', 1 + n / 10_000, 3)
      if (n % 10 === 0) pass(1)
    }
    pass(20)
    expect(told).toBeLessThanOrEqual(1020 / 16)
    expect(told).toBeGreaterThan(50)
    expect(board.price('BTC/USDT', 'okx')!.bid).toBe(1.9999)
  })

  test('a lone change after quiet is told with the next frame, and nothing more follows', () => {
    pass(1000)
    told = 0
    gateway.price('BTC/USDT', 'okx', 1, 2)
    expect(told).toBe(0)
    pass(16)
    expect(told).toBe(1)
    pass(400)
    expect(told).toBe(1)
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

  test('a hidden page, whose frames do not come, is told by a timer', () => {
    connection.disconnect()
    vi.stubGlobal('requestAnimationFrame', () => 1)
    begin()
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(260)
    expect(board.price('BTC/USDT', 'okx')?.bid).toBe(1)
  })

  test('without frames at all, too', () => {
    connection.disconnect()
    vi.stubGlobal('requestAnimationFrame', undefined)
    begin()
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(20)
    expect(board.price('BTC/USDT', 'okx')?.bid).toBe(1)
  })
})

describe('freshness', () => {
  test('stale when two beats brought nothing, fresh again with the next price, gone after half a minute', () => {
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

  test('the beat that was asked for counts', () => {
    connection.disconnect()
    begin({ ...PANEL, intervalMs: 3000 })
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(6000)
    expect(freshness()).toBe('fresh')
    pass(1000)
    expect(freshness()).toBe('stale')
  })

  test('a slow beat makes no old price fresh', () => {
    connection.disconnect()
    begin({ ...PANEL, intervalMs: 60_000 })
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(31_000)
    expect(freshness()).toBe('fresh')
    pass(2000)
    expect(freshness()).not.toBe('fresh')
  })

  test('without a beat a quiet price stays fresh until the gateway says otherwise', () => {
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

  test('the clock of the day does not matter', () => {
    gateway.price('BTC/USDT', 'okx', 1, 2, { timestamp: 1 })
    pass(20)
    vi.setSystemTime(Date.now() + 86_400_000)
    pass(300)
    expect(freshness()).toBe('fresh')
  })
})

describe('what is kept', () => {
  test('a price leaves when nobody wants it any more, and one on the way does not bring it back', () => {
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

  test('the last hundred alerts, newest first, and of strangers none', () => {
    for (let n = 0; n < 2500; n++) {
      gateway.alert('BTC/USDT', 'binance', 'okx', 1 + n)
      if (n % 700 === 0) pass(20)
    }
    gateway.alert('DOGE/USDT', 'binance', 'okx', 9)
    pass(20)
    expect(board.alerts('BTC/USDT').map(({ spreadPct }) => spreadPct)).toEqual(Array.from({ length: 100 }, (_, n) => 2500 - n))
    expect(board.alerts('DOGE/USDT')).toEqual([])
  })

  test('an alert lasts until a newer one of its route, ninety seconds, its end, or the connection', () => {
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

  test('opportunities live from opened to closed', () => {
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

  test('on a lost connection nothing is known to be open, and what closed meanwhile is no claim', () => {
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

  test('closed ones are bounded', () => {
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
