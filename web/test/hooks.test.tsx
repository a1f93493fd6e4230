// @vitest-environment happy-dom
// The hooks on `/ws/prices`.
import { act } from '@testing-library/react'
import { useEffect } from 'react'
import { describe, expect, test, vi } from 'vitest'
import {
  useArbitrageMonitor,
  useConnection,
  useExchangePriceComparison,
  useLiveExchangePrices,
  useLivePrice,
  useOpportunities,
  useOrderBook,
} from '../src/react/hooks/index.js'
import { gateway, mount, onePage, pass } from './page.js'
import { opportunityText } from './rig.js'

onePage()
const BTC = 'BTC/USDT'

describe('useLiveExchangePrices', () => {
  test('the names of the replaced hook', () => {
    const hook = mount(() => useLiveExchangePrices())
    expect(Object.keys(hook.now).sort()).toEqual([
      'arbitrageAlerts',
      'connect',
      'disconnect',
      'error',
      'getPrice',
      'getPricesForSymbol',
      'isConnected',
      'prices',
      'requestNotificationPermission',
      'subscribe',
      'subscribedExchanges',
      'subscribedSymbols',
      'unsubscribe',
    ])
    expect(hook.now).toMatchObject({
      prices: {},
      arbitrageAlerts: [],
      isConnected: false,
      error: null,
      subscribedSymbols: [],
      subscribedExchanges: [],
    })
  })

  test('prices by SYMBOL:exchange with the mid price, from the origin of the page', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: ['btc/usdt'], initialExchanges: ['okx'] }))
    pass(50)
    expect(gateway.socket.url).toBe('wss://desk.example/ws/prices')
    gateway.price('btc/usdt', 'okx', 100, 101, { timestamp: 7 })
    pass(20)
    const price = { symbol: 'btc/usdt', exchange: 'okx', bid: 100, ask: 101, timestamp: 7, midPrice: 100.5, freshness: 'fresh' }
    expect(hook.now.prices).toEqual({ 'btc/usdt:okx': price })
    expect(hook.now.getPrice('btc/usdt', 'okx')).toEqual(price)
    expect(hook.now.getPrice('btc/usdt', 'binance')).toBeUndefined()
    expect(hook.now.getPricesForSymbol('btc/usdt')).toEqual([price])
    expect(hook.now.isConnected).toBe(true)
  })

  test('subscribe() keeps its identity, opens no socket, and adds', () => {
    const hook = mount(() => useLiveExchangePrices())
    const { subscribe, unsubscribe, connect, disconnect } = hook.now
    act(() => subscribe([BTC], ['okx']))
    pass(500)
    act(() => subscribe(['ETH/USDT', BTC], ['binance']))
    pass(500)
    expect(gateway.sockets.length).toBe(1)
    expect(hook.now).toMatchObject({ subscribe, unsubscribe, connect, disconnect })
    expect(hook.now.subscribedSymbols).toEqual([BTC, 'ETH/USDT'])
    expect(hook.now.subscribedExchanges).toEqual(['okx', 'binance'])
    expect([...gateway.socket.symbols, ...gateway.socket.exchanges]).toEqual([BTC, 'ETH/USDT', 'okx', 'binance'])
    act(() => unsubscribe(['ETH/USDT'], []))
    pass(500)
    expect([...gateway.socket.symbols]).toEqual([BTC])
  })

  test('reconnects automatically and restores its subscription', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }))
    pass(50)
    act(() => hook.now.subscribe(['ETH/USDT'], []))
    pass(500)
    gateway.socket.drop(1006)
    pass(20)
    expect(hook.now.isConnected).toBe(false)
    expect(hook.now.error).toBe('Connection lost')
    pass(3000)
    expect(hook.now).toMatchObject({ isConnected: true, error: null })
    expect([gateway.sockets.length, ...gateway.socket.symbols]).toEqual([2, BTC, 'ETH/USDT'])
    gateway.price('ETH/USDT', 'okx', 1, 2)
    pass(20)
    expect(hook.now.getPrice('ETH/USDT', 'okx')?.freshness).toBe('fresh')
  })

  test('disconnect() stays disconnected, and unmounting leaks nothing', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }))
    pass(50)
    gateway.price(BTC, 'okx', 1, 2)
    pass(20)
    act(() => hook.now.disconnect())
    pass(60_000)
    expect(gateway.open.length).toBe(0)
    expect(hook.now).toMatchObject({ isConnected: false, prices: {}, error: null, subscribedSymbols: [BTC] })
    act(() => hook.now.connect())
    pass(500)
    expect(hook.now.isConnected).toBe(true)
    expect([...gateway.socket.symbols]).toEqual([BTC])
    hook.unmount()
    pass(60_000)
    expect([gateway.open.length, gateway.sockets.length]).toEqual([0, 2])
  })

  test('disconnect() of one component does not affect the others', () => {
    const one = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }))
    const two = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }))
    pass(50)
    act(() => one.now.disconnect())
    pass(1000)
    gateway.price(BTC, 'okx', 1, 2)
    pass(20)
    expect([one.now.isConnected, two.now.isConnected, gateway.open.length]).toEqual([false, true, 1])
    expect([Object.keys(one.now.prices).length, Object.keys(two.now.prices).length]).toEqual([0, 1])
  })

  test('autoConnect: false waits for connect()', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], autoConnect: false }))
    pass(5000)
    expect(gateway.sockets.length).toBe(0)
    act(() => hook.now.connect())
    pass(50)
    expect(hook.now.isConnected).toBe(true)
  })

  test('inline arrays are the same subscription at every draw, and a changed one is a new subscription', () => {
    let symbol = BTC
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [symbol], initialExchanges: ['okx'] }))
    pass(50)
    for (let n = 0; n < 50; n++) {
      hook.again()
      pass(20)
    }
    expect([gateway.sockets.length, gateway.heard.length]).toEqual([1, 1])
    act(() => hook.now.subscribe(['SOL/USDT'], []))
    symbol = 'ETH/USDT'
    hook.again()
    pass(500)
    expect([...gateway.socket.symbols]).toEqual(['SOL/USDT', 'ETH/USDT'])
    expect(hook.now.subscribedSymbols).toEqual(['SOL/USDT', 'ETH/USDT'])
  })

  test('prices are removed on unsubscribe, also while other components want them', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC, 'ETH/USDT'], initialExchanges: ['okx'] }))
    mount(() => useLivePrice(BTC, 'okx'))
    pass(50)
    gateway.price(BTC, 'okx', 1, 2)
    gateway.price('ETH/USDT', 'okx', 3, 4)
    pass(20)
    expect(Object.keys(hook.now.prices)).toEqual(['BTC/USDT:okx', 'ETH/USDT:okx'])
    act(() => hook.now.unsubscribe([BTC], []))
    expect(Object.keys(hook.now.prices)).toEqual(['ETH/USDT:okx'])
    expect(hook.now.getPrice(BTC, 'okx')).toBeUndefined()
  })

  test('10,000 updates in a second draw it at most once a frame', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx', 'binance'] }))
    pass(50)
    const before = hook.draws
    for (let n = 0; n < 10_000; n++) {
      gateway.price(BTC, n % 2 ? 'okx' : 'binance', 1 + n / 10_000, 3)
      if (n % 10 === 9) pass(1)
    }
    pass(20)
    expect(hook.draws - before).toBeLessThanOrEqual(1020 / 16)
    expect(hook.now.getPrice(BTC, 'okx')!.bid).toBe(1.9999)
  })

  test('subscriptions of other components do not draw it', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }))
    mount(() => useLivePrice('ETH/USDT', 'okx'))
    pass(50)
    const { draws } = hook
    for (let n = 0; n < 50; n++) {
      gateway.price('ETH/USDT', 'okx', 1 + n, 100)
      pass(20)
    }
    expect(hook.draws).toBe(draws)
  })

  test('alerts newest first, at most 100, of its own symbols', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC, 'ETH/USDT'] }))
    mount(() => useArbitrageMonitor('SOL/USDT'))
    pass(50)
    for (let n = 0; n < 150; n++) {
      gateway.alert(n % 2 ? BTC : 'ETH/USDT', 'binance', 'okx', 1, { timestamp: n })
      gateway.alert('SOL/USDT', 'binance', 'okx', 1, { timestamp: n })
    }
    pass(20)
    expect(hook.now.arbitrageAlerts.map(({ timestamp }) => timestamp)).toEqual(Array.from({ length: 100 }, (_, n) => 149 - n))
  })

  test('an error frame is shown as text; unknown frames are ignored', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    pass(50)
    gateway.say('{"type":"later"}')
    gateway.say('nonsense')
    pass(20)
    expect(hook.now.error).toBeNull()
    gateway.say('{"type":"error","message":"<b>\\u202e"}')
    pass(20)
    expect(hook.now.error).toBe('<b>\u202e')
  })

  test('hostile names are texts and keys like any other', () => {
    const names = ['__proto__', 'constructor', '<script>alert(1)</script>', '\u202eCTB\u0000']
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: names, initialExchanges: ['toString'] }))
    pass(50)
    expect(hook.now.getPrice('__proto__', 'toString')).toBeUndefined()
    names.forEach((name) => gateway.price(name, 'toString', 1, 2))
    pass(20)
    expect(Object.keys(hook.now.prices)).toEqual(names.map((name) => `${name}:toString`))
    expect(hook.now.getPrice('__proto__', 'toString')?.bid).toBe(1)
    expect(({} as Record<string, unknown>).bid).toBeUndefined()
  })

  test('StrictMode: one socket, one subscription', () => {
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }), { strict: true })
    pass(1000)
    expect([gateway.sockets.length, gateway.heard.length]).toEqual([1, 1])
    gateway.price(BTC, 'okx', 1, 2)
    pass(20)
    expect(hook.now.getPrice(BTC, 'okx')?.bid).toBe(1)
  })

  test('another gateway by url has its own connection', () => {
    mount(() => useLiveExchangePrices({ initialSymbols: [BTC], url: 'https://other.example' }))
    mount(() => useLiveExchangePrices({ initialSymbols: [BTC], url: 'wss://other.example/ws/prices' }))
    mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    pass(50)
    expect(gateway.open.map(({ url }) => url).sort()).toEqual(['wss://desk.example/ws/prices', 'wss://other.example/ws/prices'])
  })
})

describe('one page', () => {
  test('a panel and widgets with all their hooks share one socket', () => {
    for (let n = 0; n < 5; n++) {
      mount(() => {
        const { isConnected } = useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx', 'binance'] })
        useArbitrageMonitor(BTC, 0.5)
        useExchangePriceComparison(BTC, ['okx', 'binance'])
        return isConnected
      })
    }
    pass(1000)
    expect([gateway.sockets.length, gateway.heard.length]).toEqual([1, 1])
    expect(gateway.heard[0]).toEqual({ action: 'subscribe', symbols: [BTC], exchanges: ['okx', 'binance'] })
  })

  test('mounting and unmounting 1,000 times leaves one socket, then none', () => {
    for (let n = 0; n < 1000; n++) {
      const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC], initialExchanges: ['okx'] }))
      if (n % 10 === 0) pass(50)
      hook.unmount()
    }
    expect(gateway.open.length).toBe(1)
    expect(gateway.sockets.length).toBe(1)
    pass(1000)
    expect(gateway.open.length).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('an effect that subscribes at every draw does not loop', () => {
    const hook = mount(() => {
      const live = useLiveExchangePrices()
      useEffect(() => {
        live.subscribe([BTC], ['okx'])
      })
      return live
    })
    pass(50)
    for (let n = 0; n < 100; n++) {
      gateway.price(BTC, 'okx', 1 + n, 1000)
      pass(20)
    }
    expect([gateway.sockets.length, gateway.heard.length]).toEqual([1, 1])
    // A frame is one draw, plus one that React discards because nothing has changed.
    expect(hook.draws).toBeLessThan(220)
  })
})

describe('useArbitrageMonitor', () => {
  test('receives alerts without exchanges, filtered by symbol and spread', () => {
    const hook = mount(() => useArbitrageMonitor(BTC, 0.8))
    mount(() => useArbitrageMonitor('ETH/USDT'))
    pass(50)
    expect(gateway.heard).toEqual([{ action: 'subscribe', symbols: [BTC, 'ETH/USDT'], exchanges: [] }])
    gateway.alert(BTC, 'binance', 'okx', 0.8)
    gateway.alert(BTC, 'okx', 'kraken', 0.79)
    gateway.alert('ETH/USDT', 'binance', 'okx', 5)
    pass(20)
    expect(hook.now.alerts.map(({ spreadPct }) => spreadPct)).toEqual([0.8])
    expect(hook.now.alertCount).toBe(1)
  })

  test('bestOpportunity is the largest spread, not the newest', () => {
    const hook = mount(() => useArbitrageMonitor(BTC))
    expect(hook.now.bestOpportunity).toBeNull()
    pass(50)
    gateway.alert(BTC, 'a', 'b', 0.7)
    gateway.alert(BTC, 'a', 'c', 2.5)
    gateway.alert(BTC, 'a', 'd', 0.9)
    pass(20)
    expect(hook.now.bestOpportunity?.spreadPct).toBe(2.5)
    expect(hook.now.alerts.map(({ spreadPct }) => spreadPct)).toEqual([0.9, 2.5, 0.7])
  })

  test('the best opportunity is current: not an hour old, and not from a lost connection', () => {
    const hook = mount(() => useArbitrageMonitor(BTC))
    pass(50)
    gateway.alert(BTC, 'a', 'b', 9)
    pass(20)
    expect(hook.now.bestOpportunity?.spreadPct).toBe(9)
    pass(91_000)
    expect(hook.now.bestOpportunity).toBeNull()
    expect(hook.now.alertCount).toBe(1)
    gateway.alert(BTC, 'a', 'b', 0.6)
    pass(20)
    expect(hook.now.bestOpportunity?.spreadPct).toBe(0.6)
    gateway.socket.drop(1006)
    pass(20)
    expect(hook.now).toMatchObject({ bestOpportunity: null, isConnected: false })
  })

  test('a component that mounts later sees earlier alerts of its symbol', () => {
    mount(() => useArbitrageMonitor(BTC))
    pass(50)
    gateway.alert(BTC, 'a', 'b', 1)
    pass(20)
    const later = mount(() => useArbitrageMonitor(BTC))
    expect(later.now.alertCount).toBe(1)
    expect(later.now.bestOpportunity?.spreadPct).toBe(1)
  })
})

describe('useExchangePriceComparison', () => {
  test('rows in the given order, lowest ask, highest bid, the first of equals', () => {
    const hook = mount(() => useExchangePriceComparison(BTC, ['kraken', 'okx', 'binance', 'nowhere']))
    pass(50)
    gateway.price(BTC, 'okx', 101, 102)
    gateway.price(BTC, 'binance', 99, 100)
    gateway.price(BTC, 'kraken', 99, 100)
    pass(20)
    expect(hook.now).toEqual({
      symbol: BTC,
      comparison: [
        { exchange: 'kraken', bid: 99, ask: 100, midPrice: 99.5, available: true, freshness: 'fresh' },
        { exchange: 'okx', bid: 101, ask: 102, midPrice: 101.5, available: true, freshness: 'fresh' },
        { exchange: 'binance', bid: 99, ask: 100, midPrice: 99.5, available: true, freshness: 'fresh' },
        { exchange: 'nowhere', available: false },
      ],
      bestBuyExchange: 'kraken',
      bestSellExchange: 'okx',
      bestBuyPrice: 100,
      bestSellPrice: 101,
      potentialSpread: 1,
      isConnected: true,
    })
  })

  test('without data the spread is null; a negative spread is shown', () => {
    const hook = mount(() => useExchangePriceComparison(BTC, ['okx']))
    expect(hook.now.potentialSpread).toBeNull()
    pass(50)
    gateway.price(BTC, 'okx', 99, 100)
    pass(20)
    expect(hook.now.potentialSpread).toBe(-1)
  })

  test('a stale price and a fresh one make no spread', () => {
    const hook = mount(() => useExchangePriceComparison(BTC, ['okx', 'binance']))
    pass(50)
    gateway.price(BTC, 'okx', 150, 151)
    for (let n = 0; n < 4; n++) {
      gateway.price(BTC, 'binance', 99, 100)
      pass(500)
    }
    expect(hook.now.comparison[0]).toEqual({ exchange: 'okx', bid: 150, ask: 151, midPrice: 150.5, available: false, freshness: 'stale' })
    expect(hook.now).toMatchObject({ bestSellExchange: 'binance', potentialSpread: -1 })
    pass(60_000)
    expect(hook.now.comparison[0]).toEqual({ exchange: 'okx', available: false, freshness: 'gone' })
    expect(hook.now.potentialSpread).toBeNull()
  })

  test('an inline array causes no new subscription', () => {
    const hook = mount(() => useExchangePriceComparison(BTC, ['okx', 'binance']))
    for (let n = 0; n < 50; n++) {
      hook.again()
      pass(20)
    }
    expect([gateway.sockets.length, gateway.heard.length]).toEqual([1, 1])
  })
})

describe('useOpportunities', () => {
  test('requests opportunities; open ones by spread and closed ones by time, of its symbols', () => {
    const hook = mount(() => useOpportunities([BTC]))
    pass(50)
    expect(gateway.heard[0]).toEqual({ action: 'subscribe', symbols: [BTC], exchanges: [], opportunities: true })
    gateway.opportunity('opened', 'a', 0.6)
    gateway.opportunity('opened', 'b', 0.9)
    gateway.opportunity('opened', 'x', 9, { symbol: 'DOGE/USDT' })
    pass(20)
    expect(hook.now.open.map(({ id }) => id)).toEqual(['b', 'a'])
    gateway.opportunity('closed', 'b', 0.9)
    pass(20)
    expect([hook.now.open.map(({ id }) => id), hook.now.closed.map(({ id }) => id)]).toEqual([['a'], ['b']])
    hook.unmount()
    pass(20)
    const later = mount(() => useOpportunities([BTC]))
    expect(later.now).toMatchObject({ open: [], closed: [] })
  })
})

describe('minProof', () => {
  test('hooks that ask for other proof use another connection, with alerts and opportunities of its own', () => {
    const all = mount(() => useOpportunities([BTC]))
    const proven = mount(() => useOpportunities([BTC], { minProof: 'proven' }))
    const monitor = mount(() => useArbitrageMonitor(BTC, 0.5, { minProof: 'proven' }))
    pass(50)
    expect(gateway.open.length).toBe(2)
    expect(gateway.heard.map(({ minProof }) => minProof)).toEqual([undefined, 'proven'])
    gateway.open[1]!.say(opportunityText('opened', 'a', 0.6, { proof: 'proven' }))
    pass(20)
    expect([all.now.open.length, proven.now.open.length, monitor.now.isConnected]).toEqual([0, 1, true])
    proven.unmount()
    monitor.unmount()
    pass(500)
    expect(gateway.open.length).toBe(1)
  })
})

describe('useLivePrice and useConnection', () => {
  test('a cell is drawn when its price changes, and when it becomes stale', () => {
    const btc = mount(() => useLivePrice(BTC, 'okx'))
    const eth = mount(() => useLivePrice('ETH/USDT', 'okx'))
    pass(50)
    gateway.price(BTC, 'okx', 1, 2)
    pass(20)
    expect([btc.draws, eth.draws]).toEqual([2, 1])
    pass(3000)
    expect([btc.now?.freshness, btc.draws]).toEqual(['stale', 3])
  })

  test('useConnection opens no connection, and controls that of the whole page', () => {
    const hook = mount(() => useConnection())
    pass(1000)
    expect([hook.now.state, gateway.sockets.length]).toEqual(['idle', 0])
    const live = mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    pass(50)
    expect(hook.now).toMatchObject({ state: 'connected', isConnected: true, error: null, attempts: 0 })
    gateway.mood = 'refusing'
    gateway.socket.drop(1006)
    pass(3000)
    expect(hook.now).toMatchObject({ state: 'waiting', isConnected: false, error: 'Connection lost' })
    expect(hook.now.attempts).toBeGreaterThan(2)
    gateway.mood = 'accepting'
    act(() => hook.now.connect())
    pass(50)
    expect(hook.now.state).toBe('connected')
    act(() => hook.now.disconnect())
    pass(60_000)
    expect([hook.now.state, live.now.isConnected, gateway.open.length]).toEqual(['idle', false, 0])
    act(() => live.now.connect())
    pass(50)
    expect(hook.now.state).toBe('connected')
  })
})

describe('notifications', () => {
  class FakeNotification {
    static permission: NotificationPermission = 'granted'
    static shown: [string, NotificationOptions][] = []
    static asked = 0
    constructor(title: string, options: NotificationOptions) {
      FakeNotification.shown.push([title, options])
    }
    static async requestPermission() {
      FakeNotification.asked++
      return (FakeNotification.permission = 'granted')
    }
  }
  const allow = (permission: NotificationPermission) => {
    Object.assign(FakeNotification, { permission, shown: [], asked: 0 })
    vi.stubGlobal('Notification', FakeNotification)
  }

  test('above one percent, with its tag; once for all hooks', () => {
    allow('granted')
    for (let n = 0; n < 3; n++) mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    pass(50)
    gateway.alert(BTC, 'binance', 'okx', 1)
    gateway.alert(BTC, 'binance', 'okx', 1.234)
    pass(20)
    gateway.alert(BTC, 'okx', 'binance', 0.6)
    pass(20)
    expect(FakeNotification.shown).toEqual([
      ['Arbitrage Alert: BTC/USDT', { body: '1.23% spread: buy on binance, sell on okx', tag: 'arbitrage-BTC/USDT' }],
    ])
  })

  test('alerts before a component was mounted are not notified', () => {
    allow('granted')
    mount(() => useArbitrageMonitor(BTC))
    pass(50)
    gateway.alert(BTC, 'binance', 'okx', 5)
    pass(20)
    mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    gateway.alert(BTC, 'binance', 'okx', 0.6)
    pass(20)
    expect(FakeNotification.shown).toEqual([])
    gateway.alert(BTC, 'binance', 'okx', 6)
    pass(20)
    expect(FakeNotification.shown.length).toBe(1)
  })

  test('no notifications if disabled', () => {
    allow('granted')
    mount(() => useLiveExchangePrices({ initialSymbols: [BTC], notify: false }))
    pass(50)
    gateway.alert(BTC, 'binance', 'okx', 5)
    pass(20)
    allow('denied')
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    gateway.alert(BTC, 'binance', 'okx', 6)
    pass(20)
    expect([FakeNotification.shown, hook.now.arbitrageAlerts.length]).toEqual([[], 2])
  })

  test('requests permission only while it is undecided', async () => {
    allow('default')
    const hook = mount(() => useLiveExchangePrices())
    expect(await hook.now.requestNotificationPermission()).toBe(true)
    expect(await hook.now.requestNotificationPermission()).toBe(true)
    expect(FakeNotification.asked).toBe(1)
    allow('denied')
    expect(await hook.now.requestNotificationPermission()).toBe(false)
    expect(FakeNotification.asked).toBe(0)
  })

  test('a browser without Notification, or with one that throws, causes no error', async () => {
    vi.stubGlobal('Notification', undefined)
    const hook = mount(() => useLiveExchangePrices({ initialSymbols: [BTC] }))
    expect(await hook.now.requestNotificationPermission()).toBe(false)
    pass(50)
    gateway.alert(BTC, 'binance', 'okx', 5)
    pass(20)
    vi.stubGlobal(
      'Notification',
      Object.assign(
        function () {
          throw new TypeError('Illegal constructor')
        },
        { permission: 'granted' },
      ),
    )
    gateway.alert(BTC, 'binance', 'okx', 6)
    pass(20)
    expect(hook.now.arbitrageAlerts.length).toBe(2)
  })
})

describe('useOrderBook', () => {
  test('one complete book while it is live, and the reason when it is void', () => {
    const hook = mount(() => useOrderBook(BTC, 'okx', { levels: 3 }))
    expect(hook.now).toBeUndefined()
    pass(50)
    expect([...gateway.socket.books]).toEqual([[`${BTC} okx`, 3]])
    expect([...gateway.socket.symbols]).toEqual([])
    gateway.book(BTC, 'okx', 3)
    pass(20)
    expect(hook.now).toMatchObject({
      symbol: BTC,
      exchange: 'okx',
      state: 'live',
      bids: [
        [99, 1],
        [98, 2],
        [97, 3],
      ],
      asks: [
        [101, 1],
        [102, 2],
        [103, 3],
      ],
    })
    gateway.book(BTC, 'okx', 0, { state: 'void', reason: 'gap', voids: 1 })
    pass(20)
    expect(hook.now).toMatchObject({ state: 'void', reason: 'gap', bids: [] })
    gateway.book(BTC, 'binance', 3)
    gateway.book('ETH/USDT', 'okx', 3)
    const { draws } = hook
    pass(500)
    expect(hook.draws, 'those that nobody asked for').toBe(draws)
  })

  test('two depths of one book are one request for the deeper one; each hook gets its own depth', () => {
    const shallow = mount(() => useOrderBook(BTC, 'okx', { levels: 2 }))
    const deep = mount(() => useOrderBook(BTC, 'okx', { levels: 50 }))
    pass(50)
    // The gateway sends 20 levels, and more are not requested again.
    expect([...gateway.socket.books]).toEqual([[`${BTC} okx`, 20]])
    expect(gateway.heard.filter(({ books }) => books).length).toBe(1)
    gateway.book(BTC, 'okx', 20)
    pass(20)
    expect([shallow.now!.bids.length, deep.now!.bids.length]).toEqual([2, 20])
    const other = mount(() => useLivePrice(BTC, 'okx'))
    pass(500)
    expect(gateway.heard.filter(({ books }) => books).length).toBe(1)
    other.unmount()
    deep.unmount()
    pass(500)
    expect([...gateway.socket.books]).toEqual([[`${BTC} okx`, 2]])
    shallow.unmount()
    pass(100)
    expect([...gateway.socket.books]).toEqual([])
  })

  test('without a connection there is no book; it is requested again after a reconnect', () => {
    const hook = mount(() => useOrderBook(BTC, 'okx'))
    pass(50)
    gateway.book(BTC, 'okx', 5)
    pass(20)
    expect(hook.now?.state).toBe('live')
    gateway.socket.drop(1006)
    pass(20)
    expect(hook.now).toBeUndefined()
    pass(3000)
    expect([...gateway.socket.books]).toEqual([[`${BTC} okx`, 10]])
    gateway.book(BTC, 'okx', 5, { sequence: 8 })
    pass(20)
    expect(hook.now?.sequence).toBe(8)
  })

  test('books alone do not change the interval of prices', () => {
    mount(() => useLivePrice('ETH/USDT', 'okx', { intervalMs: 2000 }))
    mount(() => useOrderBook(BTC, 'okx'))
    pass(300)
    expect(gateway.heard.flatMap(({ intervalMs }) => intervalMs ?? [])).toEqual([2000])
  })
})
