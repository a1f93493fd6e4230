import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { environment } from '../../core/environment.js'
import type { PriceUpdate } from '../../core/messages.js'
import { EMPTY_STREAM, sharedStream, streamView, type PriceStreamStatus } from '../../core/stream.js'
import { throttle } from '../../core/throttle.js'

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
  /** Whether some pair is. */
  isPriceStale: boolean
  /** Pairs without a fresh price. */
  stalePairs: readonly string[]
  hasReceivedPrice: boolean
}

/** Prices of pairs with their day, over server-sent events: one stream for all components of the page, whatever pairs they want. */
export function usePriceStream(pairs: readonly string[], options: UsePriceStreamOptions = {}): PriceStream {
  const { url, onError, updateDebounceMs = 500 } = options
  const names = JSON.stringify(pairs)
  const subscribe = useCallback(
    (listener: () => void) => {
      const feed = sharedStream(JSON.parse(names) as string[], url)
      if (!feed) return () => {}
      const { request, cancel } = throttle(environment(), listener, updateDebounceMs)
      const end = feed.subscribe(request)
      return () => {
        cancel()
        end()
      }
    },
    [names, url, updateDebounceMs],
  )
  const view = useSyncExternalStore(
    subscribe,
    () => streamView(pairs, url),
    () => EMPTY_STREAM,
  )

  const tell = useRef(onError)
  useEffect(() => {
    tell.current = onError
  })
  const { prices, status, lastUpdate, error, stalePairs } = view
  useEffect(() => {
    if (error) tell.current?.(error)
  }, [error])

  return useMemo(
    () => ({
      prices,
      status,
      lastUpdate,
      error,
      isLoading: status === 'connecting',
      isPriceStale: stalePairs.length > 0,
      // In the order and the number asked, which the shared stream does not know.
      stalePairs: (JSON.parse(names) as string[]).filter((pair) => stalePairs.includes(pair)),
      hasReceivedPrice: prices.size > 0,
    }),
    [prices, status, lastUpdate, error, stalePairs, names],
  )
}
