// What of all that the gateway has one viewer watches: as much as the gateway allows.

import { fitting, type Limits } from '../src/core/limits.js'
import type { Instruments } from '../src/core/reports.js'

/** What is watched of what there is. */
export interface Watched {
  symbols: readonly string[]
  exchanges: readonly string[]
  /** Symbols that are wanted and have no room within the gateway's limits. */
  beyond: number
  /** All that the gateway has, whether watched or not. */
  all: { symbols: readonly string[]; exchanges: readonly string[] }
  /** Exchanges of each symbol. */
  quoted: ReadonlyMap<string, readonly string[]>
}

/** What is watched of `instruments`: everything that is not hidden, as far as `limits` go. */
export function watchedOf(
  instruments: Instruments['instruments'],
  limits: Limits,
  hiddenSymbols: readonly string[] = [],
  hiddenExchanges: readonly string[] = [],
): Watched {
  const symbols = instruments.map((one) => one.symbol)
  const exchanges = [...new Set(instruments.flatMap((one) => one.exchanges))]
  const wanted = symbols.filter((symbol) => !hiddenSymbols.includes(symbol))
  const watched = exchanges.filter((exchange) => !hiddenExchanges.includes(exchange))
  const fits = fitting({ symbols: wanted, exchanges: watched, books: [] }, limits)
  return {
    symbols: fits.symbols,
    exchanges: fits.exchanges,
    beyond: wanted.length - fits.symbols.length,
    all: { symbols, exchanges },
    quoted: new Map(instruments.map((one) => [one.symbol, one.exchanges])),
  }
}
