import { useMemo } from 'react'
import type { Freshness, LivePrice } from '../../core/types.js'
import { NONE, isSameList, useBoard, useHold, useStatus } from './live.js'
import type { HookOptions } from './options.js'

export interface ExchangeComparisonRow {
  exchange: string
  /** The last known price; absent without a price and when it is gone. */
  bid?: number
  ask?: number
  midPrice?: number
  /** Whether the price is fresh. Only fresh prices are compared. */
  available: boolean
  /** `undefined`: there has been no price. */
  freshness?: Freshness
}

export interface ExchangeComparison {
  symbol: string
  /** In the order of the request. */
  comparison: readonly ExchangeComparisonRow[]
  /** The exchange with the lowest fresh ask; of equal ones, the first. */
  bestBuyExchange?: string
  /** The exchange with the highest fresh bid; of equal ones, the first. */
  bestSellExchange?: string
  bestBuyPrice?: number
  bestSellPrice?: number
  /** (best bid − best ask) / best ask × 100, may be negative; `null` without data. */
  potentialSpread: number | null
  isConnected: boolean
}

/** Compares the prices of one symbol on several exchanges. */
export function useExchangePriceComparison(symbol: string, exchanges: readonly string[], options: HookOptions = {}): ExchangeComparison {
  const { url, ...feed } = options
  useHold({ url }, { symbols: [symbol], exchanges, ...feed })
  const { isConnected } = useStatus({ url })
  const prices = useBoard<readonly (LivePrice | undefined)[]>(
    { url },
    (board) => exchanges.map((exchange) => board.price(symbol, exchange)),
    NONE,
    isSameList,
  )
  const names = JSON.stringify(exchanges)
  return useMemo(() => {
    const comparison = (JSON.parse(names) as string[]).map((exchange, at) => row(exchange, prices[at]))
    return { symbol, comparison, ...best(comparison), isConnected }
  }, [symbol, names, prices, isConnected])
}

function row(exchange: string, price: LivePrice | undefined): ExchangeComparisonRow {
  if (!price) return { exchange, available: false }
  const { bid, ask, midPrice, freshness } = price
  if (freshness === 'gone') return { exchange, available: false, freshness }
  return { exchange, bid, ask, midPrice, available: freshness === 'fresh', freshness }
}

/** Compares fresh prices only: the spread between an old and a new price is meaningless. */
function best(rows: readonly ExchangeComparisonRow[]): Omit<ExchangeComparison, 'symbol' | 'comparison' | 'isConnected'> {
  let buy: ExchangeComparisonRow | undefined
  let sell: ExchangeComparisonRow | undefined
  for (const row of rows) {
    if (!row.available) continue
    if (!buy || row.ask! < buy.ask!) buy = row
    if (!sell || row.bid! > sell.bid!) sell = row
  }
  if (!buy || !sell) return { potentialSpread: null }
  const [bestBuyPrice, bestSellPrice] = [buy.ask!, sell.bid!]
  return {
    bestBuyExchange: buy.exchange,
    bestSellExchange: sell.exchange,
    bestBuyPrice,
    bestSellPrice,
    potentialSpread: ((bestSellPrice - bestBuyPrice) / bestBuyPrice) * 100,
  }
}
