import { useEffect, useMemo, useRef, useState } from 'react'
import { readMarketDataPrice, type MarketDataPrice } from '../../core/messages.js'
import { usePage } from './usePage.js'

/** `unavailable`: the gateway has no price of any pair. `stale`: a pair has no recent price. */
export type PricePollingStatus = 'polling' | 'idle' | 'error' | 'stale' | 'unavailable'

export interface UsePriceCachePollingOptions {
  /** The gateway, such as `https://host`. Default: the origin of the page. */
  url?: string | undefined
  /** Default 4000. */
  pollIntervalMs?: number | undefined
  /** Milliseconds without a change of its timestamp after which a pair is stale. Clocks are not compared. Default 15000. */
  staleThresholdMs?: number | undefined
  onError?: ((error: Error) => void) | undefined
}

export interface PricePolling {
  prices: ReadonlyMap<string, MarketDataPrice>
  status: PricePollingStatus
  isLoading: boolean
  /** When the latest response arrived, in Unix milliseconds of this machine; 0: not yet. */
  lastUpdate: number
  /** The latest timestamp of any price, in Unix milliseconds of the exchange; 0: none. */
  lastServerUpdate: number
  error: Error | null
  /** Whether any pair is stale. */
  isPriceStale: boolean
  /** Pairs without a recent price. */
  stalePairs: readonly string[]
}

/** Milliseconds between two checks for stale prices. */
const SWEEP = 1000

/** Prices of pairs by polling, for networks that block event streams. Prefer `usePriceStream`. */
export function usePriceCachePolling(pairs: readonly string[], options: UsePriceCachePollingOptions = {}): PricePolling {
  const { url, pollIntervalMs = 4000, staleThresholdMs = 15_000, onError } = options
  const names = JSON.stringify(pairs)
  const path = pairs.length > 0 ? `/api/market-data/prices?${new URLSearchParams({ pairs: pairs.join() })}` : undefined
  const {
    value,
    status: code,
    error: failure,
    updatedAt,
    isStale: isOverdue,
  } = usePage<Record<string, unknown>>(path, { url, everyMs: pollIntervalMs })

  const prices = useMemo(() => {
    const found = new Map<string, MarketDataPrice>()
    for (const pair of JSON.parse(names) as string[]) {
      const price = readMarketDataPrice(Object.hasOwn(value ?? {}, pair) ? value![pair] : undefined)
      if (price) found.set(pair, price)
    }
    return found
  }, [names, value])
  const stale = useStalePairs(names, prices, staleThresholdMs)

  const isAsked = path !== undefined && (updatedAt > 0 || failure !== null)
  const isUnavailable = code === 503
  const isRefused = code >= 400 && !isUnavailable
  const message = failure ?? (isRefused ? `The gateway answers ${code}` : null)
  const error = useMemo(() => (message === null ? null : new Error(message)), [message])
  const report = useRef(onError)
  useEffect(() => {
    report.current = onError
  })
  useEffect(() => {
    if (error) report.current?.(error)
  }, [error])

  return useMemo(() => {
    const stalePairs = isAsked ? (JSON.parse(isOverdue ? names : stale) as string[]) : []
    const troubled = error ? 'error' : isUnavailable ? 'unavailable' : stalePairs.length > 0 ? 'stale' : 'polling'
    return {
      prices,
      error,
      stalePairs,
      status: path === undefined ? 'idle' : troubled,
      isLoading: path !== undefined && !isAsked,
      lastUpdate: updatedAt,
      lastServerUpdate: Math.max(0, ...[...prices.values()].map(({ timestamp }) => timestamp)),
      isPriceStale: stalePairs.length > 0,
    }
  }, [path, names, prices, error, isAsked, isUnavailable, isOverdue, updatedAt, stale])
}

/** Pairs without a price, or without a change of the timestamp for `threshold` milliseconds; as JSON, which can be compared. */
function useStalePairs(names: string, prices: ReadonlyMap<string, MarketDataPrice>, threshold: number): string {
  const moved = useRef(new Map<string, { timestamp: number; at: number }>())
  const [stale, setStale] = useState('[]')
  useEffect(() => {
    const look = () => {
      const now = performance.now()
      const old = (JSON.parse(names) as string[]).filter((pair) => {
        const timestamp = prices.get(pair)?.timestamp
        if (timestamp === undefined) return true
        const known = moved.current.get(pair)
        if (known?.timestamp !== timestamp) moved.current.set(pair, { timestamp, at: now })
        return known?.timestamp === timestamp && now - known.at > threshold
      })
      setStale(JSON.stringify(old))
    }
    look()
    const timer = setInterval(look, SWEEP)
    return () => clearInterval(timer)
  }, [names, prices, threshold])
  return stale
}
