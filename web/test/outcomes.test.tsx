// @vitest-environment happy-dom
// Survival and precision, with the golden pages of the gateway.
import { act, render, screen, within } from '@testing-library/react'
import { readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { PrecisionTable, SurvivalChart } from '../src/react/index.js'
import { onePage } from './page.js'

onePage()

/** Answers each request with the golden page of its path. */
async function draw(element: React.ReactElement): Promise<HTMLElement> {
  const golden = (url: string) => JSON.parse(readFileSync(`../tests/fixtures/protocol/${/api\/(\w+)/.exec(url)![1]!}.json`, 'utf8'))
  vi.stubGlobal('fetch', async (url: string) => ({ ok: true, status: 200, json: async () => golden(String(url)) }))
  const { container } = render(element)
  await act(async () => void (await vi.advanceTimersByTimeAsync(50)))
  return container
}

const row = () =>
  within(screen.getAllByRole('row')[1]!)
    .getAllByRole('cell')
    .map((cell) => cell.textContent)

test('survival is a line with bands, and a row; times that cannot be seen are empty', async () => {
  const container = await draw(<SurvivalChart />)
  expect(row()).toEqual(['24', '–', '–', '92% net 50%', '25% net 50%', '0%'])
  expect(container.querySelectorAll('tbody tr').length, 'the one of all symbols').toBe(1)
  expect(container.querySelectorAll('svg circle').length).toBe(3)
  expect(container.querySelectorAll('svg .sw-band').length).toBe(3)
  expect(container.querySelector('svg polyline')!.getAttribute('points')).not.toMatch(/NaN/)
})

test('precision is a row of each pair', async () => {
  await draw(<PrecisionTable />)
  expect(row()).toEqual(['38%', '8', '3', '2', '1', '1', '1'])
})
