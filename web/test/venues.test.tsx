// @vitest-environment happy-dom
// The view of the exchanges, with the status page of the gateway's golden file.
import { act, render, screen } from '@testing-library/react'
import { readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { VenuesView } from '../dashboard/VenuesView.js'
import { onePage } from './page.js'

onePage()

test('an exchange that waits for its next attempt shows the time of it', async () => {
  const page = JSON.parse(readFileSync('../tests/fixtures/protocol/status.json', 'utf8'))
  page.venues[1].nextAttemptMs = 12_300
  vi.stubGlobal('fetch', async () => ({ ok: true, status: 200, json: async () => page }))
  render(<VenuesView />)
  await act(async () => void (await vi.advanceTimersByTimeAsync(50)))
  const row = (name: string) => screen.getByRole('rowheader', { name }).closest('tr')?.textContent
  expect(row('kraken')).toContain('next attempt in 12 s')
  expect(row('binance')).not.toContain('next attempt')
})
