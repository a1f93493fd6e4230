// What there is, and what of it this viewer watches.

import { useMemo } from 'react'
import { usePage } from '../src/react/index.js'
import type { Instruments } from '../src/core/reports.js'
import { useSettings } from './settings.js'

/** What is watched of what there is. */
export interface Watched {
  symbols: readonly string[]
  exchanges: readonly string[]
  /** All that the gateway has, whether watched or not. */
  all: { symbols: readonly string[]; exchanges: readonly string[] }
  /** Exchanges of each symbol. */
  quoted: ReadonlyMap<string, readonly string[]>
}

export function useWatched(): Watched {
  const { value } = usePage<Instruments>('/api/instruments', { everyMs: 10_000 })
  const { hiddenSymbols, hiddenExchanges } = useSettings()
  // The same answer again is nothing new.
  const content = JSON.stringify(value?.instruments ?? [])
  return useMemo(() => {
    const instruments = JSON.parse(content) as Instruments['instruments']
    const symbols = instruments.map((one) => one.symbol)
    const exchanges = [...new Set(instruments.flatMap((one) => one.exchanges))]
    return {
      symbols: symbols.filter((symbol) => !hiddenSymbols.includes(symbol)),
      exchanges: exchanges.filter((exchange) => !hiddenExchanges.includes(exchange)),
      all: { symbols, exchanges },
      quoted: new Map(instruments.map((one) => [one.symbol, one.exchanges])),
    }
  }, [content, hiddenSymbols, hiddenExchanges])
}
