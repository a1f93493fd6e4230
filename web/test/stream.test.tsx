// @vitest-environment happy-dom
// usePriceStream, with a fake EventSource.
import { describe, expect, test, vi } from 'vitest'
import { usePriceStream, type UsePriceStreamOptions } from '../src/react/hooks/index.js'
import { mount, onePage, pass } from './page.js'
import { FakeEvents } from './rig.js'

onePage()
const PAIRS = ['BTC/USD', 'BTC/USDT', 'ETH/USDT']
const source = () => {
  const [one, ...more] = FakeEvents.open
  if (!one || more.length > 0) throw new Error(`${FakeEvents.open.length} streams are open`)
  return one
}
const mounted = (pairs: readonly string[] = PAIRS, options: UsePriceStreamOptions = {}) => mount(() => usePriceStream([...pairs], options))
/** A burst as the gateway sends it: every pair, once per second. */
const burst = (price: number, pairs = PAIRS) => pairs.forEach((pair) => source().price(pair, price))

describe('usePriceStream', () => {
  test('the names of the replaced hook, on its path', () => {
    const hook = mounted()
    expect(hook.now).toEqual({
      prices: new Map(),
      status: 'connecting',
      isLoading: true,
      lastUpdate: 0,
      error: null,
      isPriceStale: false,
      stalePairs: [],
      hasReceivedPrice: false,
    })
    expect(source().url).toBe('https://desk.example/api/market-data/stream?pairs=BTC%2FUSD%2CBTC%2FUSDT%2CETH%2FUSDT')
    source().connected()
    burst(1)
    pass(20)
    expect(hook.now).toMatchObject({
      status: 'connected',
      isLoading: false,
      lastUpdate: 1_700_000_000_000,
      isPriceStale: false,
      hasReceivedPrice: true,
    })
    expect(hook.now.prices.get('BTC/USD')).toMatchObject({ pair: 'BTC/USD', price: 1 })
  })

  test('no pairs: idle, and no stream', () => {
    const hook = mounted([])
    pass(60_000)
    expect([hook.now.status, hook.now.prices.size, FakeEvents.all.length]).toEqual(['idle', 0, 0])
  })

  test('an inline array opens no new stream; other pairs do', () => {
    let pairs = ['BTC/USD', 'ETH/USDT']
    const hook = mount(() => usePriceStream([...pairs]))
    for (let n = 0; n < 200; n++) {
      hook.again()
      pass(10)
    }
    expect(FakeEvents.all.length).toBe(1)
    pairs = ['BTC/USD']
    hook.again()
    pass(1000)
    expect([FakeEvents.all.length, FakeEvents.open.length]).toEqual([2, 1])
  })

  test('the same pairs in any order are one stream for the whole page', () => {
    const [one, two] = [mounted(['BTC/USD', 'ETH/USDT']), mounted(['ETH/USDT', 'BTC/USD', 'ETH/USDT'])]
    expect(FakeEvents.all.length).toBe(1)
    source().price('ETH/USDT', 7)
    pass(20)
    expect([one.now.prices.get('ETH/USDT')?.price, two.now.prices.get('ETH/USDT')?.price]).toEqual([7, 7])
    one.unmount()
    pass(1000)
    expect(FakeEvents.open.length).toBe(1)
  })

  test('different sets share one stream with the union; it is replaced after the first event of the new one, without a pause', () => {
    const one = mounted(['BTC/USD'], { updateDebounceMs: 0 })
    source().connected()
    source().price('BTC/USD', 1)
    pass(2000)
    const [two, three] = [mounted(['ETH/USDT']), mounted(['SOL/USDT', 'BTC/USD'])]
    pass(600)
    expect(FakeEvents.open.map(({ url }) => new URL(url).searchParams.get('pairs'))).toEqual(['BTC/USD', 'BTC/USD,ETH/USDT,SOL/USDT'])
    expect(three.now).toMatchObject({ status: 'connecting', hasReceivedPrice: true })
    FakeEvents.open[0]!.price('BTC/USD', 2)
    pass(600)
    expect([one.now.status, one.now.prices.get('BTC/USD')?.price, three.now.prices.get('BTC/USD')?.price]).toEqual(['connected', 2, 2])
    FakeEvents.open[1]!.connected()
    pass(600)
    expect(FakeEvents.all.map(({ readyState }) => readyState)).toEqual([2, 1])
    burst(3, ['BTC/USD', 'ETH/USDT', 'SOL/USDT'])
    pass(600)
    expect([one, two, three].map(({ now }) => [now.status, ...now.prices.keys()])).toEqual([
      ['connected', 'BTC/USD'],
      ['connected', 'ETH/USDT'],
      ['connected', 'BTC/USD', 'SOL/USDT'],
    ])
    two.unmount()
    three.unmount()
    pass(1000)
    FakeEvents.open[1]!.connected()
    pass(1000)
    expect(FakeEvents.open.map(({ url }) => new URL(url).searchParams.get('pairs'))).toEqual(['BTC/USD'])
  })

  test('twelve sets of pairs never hold more than two streams', () => {
    const hooks = Array.from({ length: 12 }, (_, n) => mounted([`S${n}/USDT`, `S${n + 1}/USDT`]))
    for (let n = 0; n < 20; n++) {
      pass(100)
      expect(FakeEvents.open.length).toBeLessThanOrEqual(2)
      FakeEvents.open.forEach((events) => events.connected())
    }
    pass(1000)
    expect(FakeEvents.open.length).toBe(1)
    burst(
      1,
      Array.from({ length: 13 }, (_, n) => `S${n}/USDT`),
    )
    pass(600)
    expect(hooks.map(({ now }) => [now.status, now.prices.size])).toEqual(Array(12).fill(['connected', 2]))
  })

  test('if the new stream is rejected, the old one stays, and only components with missing pairs report an error', () => {
    const one = mounted(['BTC/USD'])
    source().connected()
    source().price('BTC/USD', 1)
    const two = mounted(['ETH/USDT'])
    pass(600)
    FakeEvents.open[1]!.fail(2)
    for (let n = 0; n < 30; n++) {
      FakeEvents.all[0]!.price('BTC/USD', n)
      FakeEvents.open.slice(1).forEach((events) => events.fail(2))
      pass(1000)
    }
    expect([one.now.status, one.now.prices.get('BTC/USD')?.price, two.now.status]).toEqual(['connected', 29, 'error'])
  })

  test('an invalid pair is left out, and only its component reports an error', () => {
    const one = mounted(['BTC/USD'])
    const two = mounted(['ETH/USDT', 'doge'])
    pass(600)
    const last = FakeEvents.all.at(-1)!
    expect(new URL(last.url).searchParams.get('pairs')).toBe('BTC/USD,ETH/USDT')
    last.connected()
    burst(1, ['BTC/USD', 'ETH/USDT'])
    pass(600)
    expect(one.now).toMatchObject({ status: 'connected', error: null })
    expect([two.now.status, two.now.stalePairs, two.now.error?.message]).toEqual(['degraded', ['doge'], 'Not a pair: doge'])
  })

  test('too many pairs for one request line need several streams', () => {
    const pairs = Array.from({ length: 700 }, (_, n) => `S${n}/USDT`)
    const hook = mounted(pairs)
    expect(FakeEvents.open.length).toBeGreaterThan(1)
    expect(Math.max(...FakeEvents.open.map(({ url }) => url.length))).toBeLessThan(4000)
    FakeEvents.open.forEach((events) => {
      events.connected()
      new URL(events.url).searchParams
        .get('pairs')!
        .split(',')
        .forEach((pair) => events.price(pair, 1))
    })
    pass(600)
    expect([hook.now.status, hook.now.prices.size]).toEqual(['connected', 700])
  })

  test('a gateway that freezes: every pair is stale four seconds later', () => {
    const hook = mounted()
    source().connected()
    burst(1)
    pass(3500)
    expect(hook.now).toMatchObject({ status: 'connected', isPriceStale: false })
    pass(2000)
    expect(hook.now).toMatchObject({ status: 'degraded', isPriceStale: true, stalePairs: PAIRS })
  })

  test('mounting and unmounting 1,000 times leaves one stream, then none', () => {
    for (let n = 0; n < 1000; n++) mounted().unmount()
    expect([FakeEvents.all.length, FakeEvents.open.length]).toEqual([1, 1])
    pass(1000)
    expect([FakeEvents.open.length, vi.getTimerCount()]).toEqual([0, 0])
  })

  test('StrictMode: one stream', () => {
    mount(() => usePriceStream([...PAIRS]), { strict: true })
    pass(1000)
    expect(FakeEvents.all.length).toBe(1)
  })

  test('prices without a pause are shown, and draw the component at most every 500 ms', () => {
    const hook = mounted()
    source().connected()
    pass(20)
    const before = hook.draws
    for (let n = 1; n <= 500; n++) {
      burst(n)
      pass(20)
    }
    expect(hook.draws - before).toBeGreaterThan(15)
    expect(hook.draws - before).toBeLessThanOrEqual(21)
    pass(600)
    for (const pair of PAIRS) expect(hook.now.prices.get(pair)?.price).toBe(500)
  })

  test('each burst of one per second is one draw with all its pairs, at once', () => {
    const hook = mounted()
    source().connected()
    pass(1000)
    for (let n = 1; n <= 10; n++) {
      const before = hook.draws
      burst(n)
      pass(20)
      expect([hook.draws - before, ...[...hook.now.prices.values()].map(({ price }) => price)]).toEqual([1, n, n, n])
      pass(980)
    }
  })

  test('updateDebounceMs: 0 draws each frame', () => {
    const hook = mounted(PAIRS, { updateDebounceMs: 0 })
    source().connected()
    pass(20)
    const before = hook.draws
    for (let n = 1; n <= 50; n++) {
      burst(n)
      pass(16)
    }
    expect(hook.draws - before).toBeGreaterThanOrEqual(49)
  })

  test('a silent pair is stale and the stream degraded, until its next price', () => {
    const hook = mounted(PAIRS, { updateDebounceMs: 0 })
    source().connected()
    for (let n = 0; n < 10; n++) {
      burst(1, ['BTC/USD', 'BTC/USDT'])
      pass(1000)
    }
    expect(hook.now).toMatchObject({ status: 'degraded', isPriceStale: true, stalePairs: ['ETH/USDT'] })
    burst(1)
    pass(20)
    expect(hook.now).toMatchObject({ status: 'connected', isPriceStale: false, stalePairs: [] })
  })

  test("a timestamp that does not change for half a minute is stale, independent of the browser's clock", () => {
    const hook = mounted(['BTC/USD'])
    source().connected()
    for (let n = 0; n < 29; n++) {
      source().price('BTC/USD', 1, 5)
      pass(1000)
    }
    expect(hook.now.status).toBe('connected')
    for (let n = 0; n < 4; n++) {
      source().price('BTC/USD', 1, 5)
      pass(1000)
    }
    expect([hook.now.status, hook.now.stalePairs]).toEqual(['degraded', ['BTC/USD']])
    source().price('BTC/USD', 1, 6)
    pass(600)
    expect(hook.now.status).toBe('connected')
  })

  test('no price within 20 s is an error, reported once', () => {
    const errors: string[] = []
    const hook = mounted(PAIRS, { onError: ({ message }) => errors.push(message) })
    source().connected()
    pass(19_000)
    expect(errors).toEqual([])
    pass(2000)
    expect(hook.now.status).toBe('error')
    expect([hook.now.error?.message, errors]).toEqual(['No price data received', ['No price data received']])
    burst(1)
    pass(600)
    expect(hook.now).toMatchObject({ status: 'connected', error: null })
  })

  test('the browser reconnects a stream that was cut', () => {
    const errors: string[] = []
    const hook = mounted(PAIRS, { onError: ({ message }) => errors.push(message) })
    source().connected()
    burst(1)
    pass(600)
    source().fail(0)
    pass(600)
    expect(hook.now).toMatchObject({ status: 'error', isPriceStale: true, hasReceivedPrice: true })
    expect(errors).toEqual(['Connection to the price stream lost'])
    source().connected()
    burst(2)
    pass(600)
    expect(hook.now).toMatchObject({ status: 'connected', error: null, isPriceStale: false })
    expect(FakeEvents.all.length).toBe(1)
  })

  test('a stream that the browser has closed is opened again', () => {
    const hook = mounted()
    for (let n = 0; n < 5; n++) {
      FakeEvents.all.at(-1)!.fail(2)
      pass(10_100)
    }
    expect(FakeEvents.all.length).toBeGreaterThanOrEqual(6)
    expect(hook.now.status).toBe('error')
    source().connected()
    burst(1)
    pass(600)
    expect(hook.now.status).toBe('connected')
  })

  test('a silent stream is opened again', () => {
    mounted()
    source().connected()
    burst(1)
    pass(44_000)
    expect(FakeEvents.all.length).toBe(1)
    pass(3000)
    expect([FakeEvents.all.length, FakeEvents.open.length]).toEqual([2, 1])
  })

  test('invalid prices are ignored', () => {
    const hook = mounted()
    source().connected()
    for (const data of ['', 'nonsense', 'null', '7', '{"pair":"BTC/USD"}', '{"pair":"BTC/USD","price":null}']) source().onmessage!({ data })
    source().price('DOGE/USD', 1)
    pass(600)
    expect([hook.now.prices.size, hook.now.hasReceivedPrice]).toEqual([0, false])
  })
})
