import type { PriceUpdate } from '../../core/messages.js'

export type PriceStreamStatus = 'connecting' | 'connected' | 'error' | 'degraded' | 'idle'

export interface UsePriceStreamOptions {
  /** The gateway, e.g. `https://host`. Default: where the page comes from. */
  url?: string | undefined
  onError?: ((error: Error) => void) | undefined
  /** At most one update of the component in this time, in milliseconds; the newest is never lost. Default 500. */
  updateDebounceMs?: number | undefined
}

export interface PriceStream {
  prices: ReadonlyMap<string, PriceUpdate>
  status: PriceStreamStatus
  isLoading: boolean
  /** When the newest price came, Unix milliseconds of this machine; 0: not yet. */
  lastUpdate: number
  error: Error | null
  isPriceStale: boolean
  stalePairs: readonly string[]
  hasReceivedPrice: boolean
}

/** Prices of pairs with their day, over server-sent events. */
export function usePriceStream(_pairs: readonly string[], _options: UsePriceStreamOptions = {}): PriceStream {
  return {
    prices: new Map(), status: 'idle', isLoading: false, lastUpdate: 0, error: null, isPriceStale: false, stalePairs: [],
    hasReceivedPrice: false,
  }
}
