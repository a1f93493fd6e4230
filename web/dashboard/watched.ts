// What there is, and what of it this viewer watches.

import { useMemo } from 'react'
import { useReport } from '../src/react/hooks/useReport.js'
import type { Instruments } from '../src/core/reports.js'
import { useSettings } from './settings.js'

/** What is watched of what there is. */
export interface Watched {
  symbols: readonly string[]
  exchanges: readonly string[]
  /** Symbols that are wanted and have no room within {@link PAIRS_MAX}. */
  beyond: number
  /** All that the gateway has, whether watched or not. */
  all: { symbols: readonly string[]; exchanges: readonly string[] }
  /** Exchanges of each symbol. */
  quoted: ReadonlyMap<string, readonly string[]>
}

/** What the gateway lets one client watch: symbols × exchanges, and names of a kind. */
const PAIRS_MAX = 4096
const NAMES_MAX = 1024

export function useWatched(): Watched {
  const { value } = useReport<Instruments>('/api/instruments', { everyMs: 10_000 })
  const { hiddenSymbols, hiddenExchanges } = useSettings()
  // The same answer again is nothing new.
  const content = JSON.stringify(value?.instruments ?? [])
  return useMemo(() => {
    const instruments = JSON.parse(content) as Instruments['instruments']
    const symbols = instruments.map((one) => one.symbol)
    const exchanges = [...new Set(instruments.flatMap((one) => one.exchanges))]
    const wanted = symbols.filter((symbol) => !hiddenSymbols.includes(symbol))
    const watched = exchanges.filter((exchange) => !hiddenExchanges.includes(exchange))
    const room = Math.min(NAMES_MAX, Math.floor(PAIRS_MAX / Math.max(1, watched.length)))
    return {
      symbols: wanted.slice(0, room),
      exchanges: watched,
      beyond: Math.max(0, wanted.length - room),
      all: { symbols, exchanges },
      quoted: new Map(instruments.map((one) => [one.symbol, one.exchanges])),
    }
  }, [content, hiddenSymbols, hiddenExchanges])
}
