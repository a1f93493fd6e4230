// Selects the instruments that a viewer watches, within the limits of the gateway.

import { fitting, type Limits } from '../src/core/limits.js'
import type { Instruments } from '../src/core/reports.js'

/** The watched instruments and exchanges. */
export interface Watched {
  symbols: readonly string[]
  exchanges: readonly string[]
  /** Number of wanted symbols beyond the gateway's limits. */
  beyond: number
  /** All symbols and exchanges of the gateway, watched or not. */
  all: { symbols: readonly string[]; exchanges: readonly string[] }
  /** Exchanges of each symbol. */
  quoted: ReadonlyMap<string, readonly string[]>
}

/** The watched part of `instruments`: everything that is not hidden, within `limits`. */
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
