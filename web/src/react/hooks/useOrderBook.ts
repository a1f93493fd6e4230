import { useMemo } from 'react'
import type { OrderBook } from '../../core/types.js'
import { useBoard, useHold } from './live.js'

export interface UseOrderBookOptions {
  /** Levels per side, default 10. */
  levels?: number | undefined
  /** The gateway: `wss://host/ws/prices`, `https://host` or a path. Default: the origin of the page. */
  url?: string | undefined
}

/**
 * The order book of a symbol on an exchange. `undefined` before the gateway's first message and while there is no connection;
 * `stale` while the gateway is silent. It has levels only if its `state` is `live` or `stale`.
 */
export function useOrderBook(symbol: string, exchange: string, { levels = 10, url }: UseOrderBookOptions = {}): OrderBook | undefined {
  useHold({ url }, { books: [{ symbol, exchange, levels }] })
  const book = useBoard({ url }, (board) => board.book(symbol, exchange), undefined)
  // Another hook of the page may want more levels.
  return useMemo(() => book && { ...book, bids: book.bids.slice(0, levels), asks: book.asks.slice(0, levels) }, [book, levels])
}
