import type { Freshness } from '../../core/types.js'
import type { HookOptions } from './options.js'

export interface ExchangeComparisonRow {
  exchange: string
  /** Last known, absent without a price and when it is gone. */
  bid?: number
  ask?: number
  midPrice?: number
  /** Whether there is a fresh price. Only such rows are compared. */
  available: boolean
  /** `undefined`: never a price. */
  freshness?: Freshness
}

export interface ExchangeComparison {
  symbol: string
  /** In the order given. */
  comparison: readonly ExchangeComparisonRow[]
  /** Lowest fresh ask; the first listed of equals. */
  bestBuyExchange?: string
  /** Highest fresh bid; the first listed of equals. */
  bestSellExchange?: string
  bestBuyPrice?: number
  bestSellPrice?: number
  /** (best bid − best ask) / best ask × 100, may be negative; `null` without data. */
  potentialSpread: number | null
  isConnected: boolean
}

/** One symbol side by side on several exchanges. */
export function useExchangePriceComparison(symbol: string, exchanges: readonly string[], _options: HookOptions = {}): ExchangeComparison {
  return { symbol, comparison: exchanges.map((exchange) => ({ exchange, available: false })), potentialSpread: null, isConnected: false }
}
