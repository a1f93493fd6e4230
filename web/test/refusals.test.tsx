// @vitest-environment happy-dom
// The view of refusals, with a fake `fetch`.
import { act, fireEvent, render, screen } from '@testing-library/react'
import { expect, test, vi } from 'vitest'
import type { RefusedCandidate } from '../src/core/reports.js'
import { RefusalsView, figure, meaning } from '../dashboard/RefusalsView.js'
import { onePage } from './page.js'

onePage()
const candidate: RefusedCandidate = {
  reason: 'stale_leg',
  leg: 'sell',
  value: 5120.25,
  limit: 5000,
  unit: 'ms',
  symbol: 'BTC/USDT',
  buyExchange: 'okx',
  sellExchange: 'kraken',
  buyPrice: 100,
  sellPrice: 101,
  spreadPct: 1,
  netSpreadPct: 0.7,
  buyAgeMs: 4,
  sellAgeMs: 5120,
  since: 1_700_000_000_000,
  timestamp: 1_700_000_000_000,
}

test('a reader picks a symbol and sees why there is no alert', async () => {
  const asked: string[] = []
  vi.stubGlobal('fetch', async (url: string) => {
    asked.push(url)
    const instruments = { instruments: [{ symbol: 'BTC/USDT', exchanges: ['okx', 'kraken'] }] }
    const reasons = { not_trading: 0, stale_leg: 3 }
    const refusals = { timestamp: 0, reasons, routes: [], current: [candidate], currentCount: 1, examples: [], untracked: 0 }
    return { ok: true, status: 200, json: async () => (url.includes('/api/instruments') ? instruments : refusals) }
  })
  render(<RefusalsView asked="" />)
  await act(() => vi.advanceTimersByTimeAsync(100))
  expect(screen.getAllByText('a quote is too old').length).toBe(2)
  expect(screen.getByText('5.1 of 5.0 s')).toBeTruthy()
  expect(screen.getByText('There is no example.')).toBeTruthy()
  expect(screen.queryByText('trading halted')).toBeNull()
  fireEvent.change(screen.getByLabelText('Symbol'), { target: { value: 'BTC/USDT' } })
  await act(() => vi.advanceTimersByTimeAsync(100))
  expect(asked.at(-1)).toContain('/api/refusals?symbol=BTC%2FUSDT')
})

test('figures have their limit and unit, and an unknown reason is shown as it is', () => {
  expect(figure({ ...candidate, value: 12.5, limit: 10, unit: 'pct' })).toBe('12.50 of 10.00%')
  const { value: _, ...without } = candidate
  expect(figure(without)).toBe('')
  expect(meaning('too_late')).toBe('too_late')
})
