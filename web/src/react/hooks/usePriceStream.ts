import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { environment } from '../../core/environment.js'
import type { PriceUpdate } from '../../core/messages.js'
import { EMPTY_STREAM, sharedStream, streamView, type PriceStreamStatus } from '../../core/stream.js'
import { throttle } from '../../core/throttle.js'

export interface UsePriceStreamOptions {
  /** The gateway, such as `https://host`. Default: the origin of the page. */
  url?: string | undefined
  onError?: ((error: Error) => void) | undefined
  /** Least milliseconds between two updates of the component. The last change is always shown. Default 500. */
  updateDebounceMs?: number | undefined
}

export interface PriceStream {
  prices: ReadonlyMap<string, PriceUpdate>
  status: PriceStreamStatus
  isLoading: boolean
  /** When the latest price arrived, in Unix milliseconds of this machine; 0: not yet. */
  lastUpdate: number
  error: Error | null
  /** Whether any pair is stale. */
  isPriceStale: boolean
  /** Pairs without a fresh price. */
  stalePairs: readonly string[]
  hasReceivedPrice: boolean
}

/** Prices of pairs with statistics of the last 24 hours, over server-sent events. All components of the page share one stream. */
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

  const report = useRef(onError)
  useEffect(() => {
    report.current = onError
  })
  const { prices, status, lastUpdate, error, stalePairs } = view
  useEffect(() => {
    if (error) report.current?.(error)
  }, [error])

  return useMemo(
    () => ({
      prices,
      status,
      lastUpdate,
      error,
      isLoading: status === 'connecting',
      isPriceStale: stalePairs.length > 0,
      // In the order of the request, with duplicates, which the shared stream does not keep.
      stalePairs: (JSON.parse(names) as string[]).filter((pair) => stalePairs.includes(pair)),
      hasReceivedPrice: prices.size > 0,
    }),
    [prices, status, lastUpdate, error, stalePairs, names],
  )
}
