// The viewer's settings, stored in this browser and shared by its tabs.

import { useSyncExternalStore } from 'react'

export interface Settings {
  theme: 'system' | 'light' | 'dark'
  /** Milliseconds between updates; 0: every change. */
  intervalMs: number
  /** Instruments and exchanges that are not watched. New ones are watched by default. */
  hiddenSymbols: readonly string[]
  hiddenExchanges: readonly string[]
  /** Opportunities with a smaller spread before fees, in percent, are neither shown nor notified. */
  thresholdPct: number
  /** Browser notifications of opportunities that open. */
  notify: boolean
}

const DEFAULTS: Settings = { theme: 'system', intervalMs: 250, hiddenSymbols: [], hiddenExchanges: [], thresholdPct: 0, notify: false }
const KEY = 'spreadwire'

export const INTERVALS: readonly [number, string][] = [
  [0, 'every change'],
  [100, '10 a second'],
  [250, '4 a second'],
  [500, '2 a second'],
  [1000, '1 a second'],
]

/** The stored settings; invalid values are replaced by defaults. */
function read(text: string | null): Settings {
  try {
    const stored = JSON.parse(text ?? '{}') as Partial<Record<keyof Settings, unknown>>
    const names = (value: unknown) => (Array.isArray(value) ? value.filter((name) => typeof name === 'string').slice(0, 4096) : [])
    const { theme, intervalMs, thresholdPct } = stored
    return {
      theme: theme === 'light' || theme === 'dark' ? theme : 'system',
      intervalMs: INTERVALS.some(([ms]) => ms === intervalMs) ? (intervalMs as number) : DEFAULTS.intervalMs,
      hiddenSymbols: names(stored.hiddenSymbols),
      hiddenExchanges: names(stored.hiddenExchanges),
      thresholdPct: typeof thresholdPct === 'number' && thresholdPct >= 0 && thresholdPct < 100 ? thresholdPct : DEFAULTS.thresholdPct,
      notify: stored.notify === true,
    }
  } catch {
    return DEFAULTS
  }
}

/** Private windows and full disks may reject the write: then the settings apply to this page only. */
function stored(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

let settings = read(stored())
const listeners = new Set<() => void>()

function become(next: Settings): void {
  settings = next
  if (next.theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = next.theme
  listeners.forEach((notify) => notify())
}

export function change(part: Partial<Settings>): void {
  become({ ...settings, ...part })
  try {
    localStorage.setItem(KEY, JSON.stringify(settings))
  } catch {
    // See `stored`.
  }
}

addEventListener('storage', (event) => {
  if (event.key === KEY || event.key === null) become(read(event.newValue))
})
become(settings)

export function useSettings(): Settings {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => settings,
  )
}
