import type { LivePrice } from '../../core/types.js'
import { useBoard, useHold } from './live.js'
import type { HookOptions } from './options.js'

/** One price, for a cell of a table: the component is drawn again only when this price changes. */
export function useLivePrice(symbol: string, exchange: string, options: HookOptions = {}): LivePrice | undefined {
  const { url, ...feed } = options
  useHold({ url }, { symbols: [symbol], exchanges: [exchange], ...feed })
  return useBoard({ url }, (board) => board.price(symbol, exchange), undefined)
}
