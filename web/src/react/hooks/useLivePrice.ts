import type { LivePrice } from '../../core/types.js'
import type { HookOptions } from './options.js'

/** One price, for a cell of a table: the component is drawn again only when this price changes. */
export function useLivePrice(_symbol: string, _exchange: string, _options: HookOptions = {}): LivePrice | undefined {
  return undefined
}
