import { useRef } from 'react'
import { usePage, type UsePageOptions } from './usePage.js'

/** A report of the gateway, for a view. */
export interface Report<T> {
  /** The latest response with status 200; retained when later requests fail. */
  value: T | undefined
  /** Why `value` is not current; `null` while it is, and before the first request fails. */
  problem: string | null
}

/** Polls one of the gateway's reports. A response with a status other than 200 is an error, not a report. */
export function useReport<T>(path: string, options: UsePageOptions = {}): Report<T> {
  const { value, status, error, isStale } = usePage<T>(path, options)
  const last = useRef<{ path: string; value: T | undefined }>({ path, value: undefined })
  if (last.current.path !== path) last.current = { path, value: undefined }
  if (status === 200 && error === null) last.current.value = value
  const refusal = status !== 0 && status !== 200 ? `The gateway answers ${status}` : null
  return { value: last.current.value, problem: refusal ?? error ?? (isStale ? 'The gateway does not answer' : null) }
}
