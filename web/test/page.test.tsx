// @vitest-environment happy-dom
// Hooks on the gateway's pages, with a fake `fetch`.
import { act } from '@testing-library/react'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { usePage, usePriceCachePolling } from '../src/react/hooks/index.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { mount, onePage } from './page.js'

onePage()
const asked: string[] = []
let answer: () => Promise<{ ok: boolean; status: number; json: () => Promise<unknown> }>

beforeEach(() => {
  asked.length = 0
  answer = async () => ({ ok: true, status: 200, json: async () => ({ n: asked.length }) })
  vi.stubGlobal('fetch', (url: string) => {
    asked.push(url)
    return answer()
  })
})
const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms))

describe('usePage', () => {
  test('polls at once and repeatedly, once for all components, at the shortest interval', async () => {
    const one = mount(() => usePage<{ n: number }>('/api/market-data/health'))
    const two = mount(() => usePage('/api/market-data/health', { everyMs: 5000 }))
    await pass(30)
    expect(asked).toEqual(['https://desk.example/api/market-data/health'])
    expect(one.now).toEqual({ value: { n: 1 }, status: 200, error: null, updatedAt: 1_700_000_000_000, isStale: false })
    expect(two.now.value).toBe(one.now.value)
    await pass(3000)
    expect(asked.length).toBe(4)
    one.unmount()
    await pass(10_000)
    expect(asked.length).toBeLessThanOrEqual(6 + 1)
    two.unmount()
    await pass(60_000)
    expect(asked.length).toBeLessThanOrEqual(7)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('the body is available for any status, such as the reason of a 503', async () => {
    answer = async () => ({ ok: false, status: 503, json: async () => ({ status: 'degraded' }) })
    const hook = mount(() => usePage('/api/market-data/health'))
    await pass(30)
    expect(hook.now).toMatchObject({ value: { status: 'degraded' }, status: 503, error: null })
  })

  test('a gateway that is unreachable, hangs or sends invalid JSON: the last value stays with the error, and polling continues', async () => {
    const hook = mount(() => usePage('/api/market-data/health'))
    await pass(30)
    answer = async () => {
      throw new TypeError('Failed to fetch')
    }
    await pass(1000)
    expect(hook.now).toMatchObject({ value: { n: 1 }, status: 0, error: 'Failed to fetch' })
    answer = () => new Promise(() => {})
    await pass(9500)
    expect(hook.now.error).toBe('The gateway does not answer')
    answer = async () => ({ ok: true, status: 200, json: async () => JSON.parse('<html>') })
    await pass(9000)
    expect(hook.now.error).toMatch(/JSON/)
    answer = async () => ({ ok: true, status: 200, json: async () => 'back' })
    await pass(1000)
    expect(hook.now).toMatchObject({ value: 'back', status: 200, error: null })
  })
})

describe('a gateway that freezes', () => {
  const never = () => new Promise<never>(() => {})

  test('a page is stale three seconds after its interval, until the next response', async () => {
    const hook = mount(() => usePage('/api/status', { everyMs: 1000 }))
    const slow = mount(() => usePage('/api/instruments', { everyMs: 10_000 }))
    await pass(30)
    answer = never
    await pass(3900)
    expect([hook.now.isStale, slow.now.isStale]).toEqual([false, false])
    await pass(300)
    expect([hook.now.isStale, hook.now.error, slow.now.isStale]).toEqual([true, null, false])
    answer = async () => ({ ok: true, status: 200, json: async () => 'back' })
    await pass(9000)
    expect([hook.now.isStale, hook.now.value]).toEqual([false, 'back'])
  })

  test('a report retains the last valid response; an error page, another status and silence are its problem', async () => {
    const hook = mount(() => useReport('/api/status'))
    await pass(30)
    expect(hook.now).toEqual({ value: { n: 1 }, problem: null })
    answer = async () => ({ ok: false, status: 503, json: async () => ({ error: 'Service temporarily at capacity' }) })
    await pass(1000)
    expect(hook.now).toEqual({ value: { n: 1 }, problem: 'The gateway answers 503' })
    answer = async () => ({ ok: true, status: 200, json: async () => 'back' })
    await pass(1000)
    expect(hook.now).toEqual({ value: 'back', problem: null })
    answer = never
    await pass(5500)
    expect(hook.now).toEqual({ value: 'back', problem: 'The gateway does not answer' })
  })

  test('polled prices are stale too', async () => {
    answer = async () => ({
      ok: true,
      status: 200,
      json: async () => ({
        'BTC/USD': { pair: 'BTC/USD', price: 1, volume: 1, timestamp: 5, change24h: 0, high24h: 1, low24h: 1, bid: 1, ask: 1 },
      }),
    })
    const hook = mount(() => usePriceCachePolling(['BTC/USD']))
    await pass(30)
    expect(hook.now).toMatchObject({ status: 'polling', isPriceStale: false })
    answer = never
    await pass(7500)
    expect(hook.now).toMatchObject({ status: 'stale', stalePairs: ['BTC/USD'] })
  })
})

describe('usePriceCachePolling', () => {
  const price = (pair: string, timestamp: number) => ({
    pair,
    price: 1,
    volume: 1,
    timestamp,
    change24h: 0,
    high24h: 1,
    low24h: 1,
    bid: 1,
    ask: 1,
  })
  const page = (status: number, value: unknown) => async () => ({ ok: status === 200, status, json: async () => value })

  test('prices by pair as requested, and the time of the exchange', async () => {
    answer = page(200, { 'BTC/USD': price('BTC/USD', 5), 'ETH/USD': price('ETH/USD', 7), 'X/Y': 'nonsense' })
    const hook = mount(() => usePriceCachePolling(['BTC/USD', 'ETH/USD']))
    expect(hook.now).toMatchObject({ status: 'polling', isLoading: true, lastServerUpdate: 0 })
    await pass(30)
    expect(asked).toEqual(['https://desk.example/api/market-data/prices?pairs=BTC%2FUSD%2CETH%2FUSD'])
    expect([...hook.now.prices.keys()]).toEqual(['BTC/USD', 'ETH/USD'])
    expect(hook.now).toMatchObject({ status: 'polling', isLoading: false, lastServerUpdate: 7, isPriceStale: false })
    await pass(12_000)
    expect(asked.length).toBe(4)
    await pass(4000)
    expect(hook.now, 'nothing has moved for 15 s').toMatchObject({ status: 'stale', stalePairs: ['BTC/USD', 'ETH/USD'] })
  })

  test('a pair without a price is stale, no price at all is unavailable, a rejection is an error', async () => {
    const errors: string[] = []
    answer = page(200, { 'BTC/USD': price('BTC/USD', 5) })
    const hook = mount(() => usePriceCachePolling(['BTC/USD', '__proto__'], { onError: ({ message }) => errors.push(message) }))
    await pass(1010)
    expect(hook.now).toMatchObject({ status: 'stale', stalePairs: ['__proto__'] })
    answer = page(503, { error: 'cold', message: 'cold', unavailablePairs: [] })
    await pass(4000)
    expect(hook.now).toMatchObject({ status: 'unavailable', error: null })
    answer = page(400, { error: 'No valid pairs provided' })
    await pass(8000)
    expect([hook.now.status, errors]).toEqual(['error', ['The gateway answers 400']])
  })

  test('no pairs: idle, and no request', async () => {
    const hook = mount(() => usePriceCachePolling([]))
    await pass(10_000)
    expect([hook.now.status, asked.length]).toEqual(['idle', 0])
  })
})
