// The rate of a counter.

import { useRef } from 'react'

/** Increase of a counter per second, from its last two readings; `undefined` before there are two, and after a restart. */
export function useRate(count: number | undefined, at: number | undefined): number | undefined {
  const seen = useRef<{ count: number; at: number; rate: number | undefined } | undefined>(undefined)
  if (count === undefined || at === undefined) return undefined
  const before = seen.current
  if (!before || at < before.at || count < before.count) {
    seen.current = { count, at, rate: undefined }
  } else if (at - before.at >= 500) {
    seen.current = { count, at, rate: ((count - before.count) * 1000) / (at - before.at) }
  }
  return seen.current?.rate
}
