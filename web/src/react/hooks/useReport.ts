import { useRef } from 'react'
import { usePage, type UsePageOptions } from './usePage.js'

/** A report of the gateway as views show it. */
export interface Report<T> {
  /** The newest that came with status 200; it stays when later requests fail or are refused. */
  value: T | undefined
  /** Why `value` is not the present one; `null` while it is, and before the first request has failed. */
  problem: string | null
}

/** One of the gateway's own reports, asked again and again. What comes with another status is an error text, not a report. */
export function useReport<T>(path: string, options: UsePageOptions = {}): Report<T> {
  const { value, status, error, isStale } = usePage<T>(path, options)
  const last = useRef<{ path: string; value: T | undefined }>({ path, value: undefined })
  if (last.current.path !== path) last.current = { path, value: undefined }
  if (status === 200 && error === null) last.current.value = value
  const refusal = status !== 0 && status !== 200 ? `The gateway answers ${status}` : null
  return { value: last.current.value, problem: refusal ?? error ?? (isStale ? 'The gateway does not answer' : null) }
}
