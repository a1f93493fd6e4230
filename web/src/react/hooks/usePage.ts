import { useCallback, useSyncExternalStore } from 'react'
import { pageUrl } from '../../core/environment.js'
import { NO_PAGE, pageView, sharedPage } from '../../core/page.js'

export interface UsePageOptions {
  /** The gateway, e.g. `https://host`. Default: where the page comes from. */
  url?: string | undefined
  /** Milliseconds between two requests. Default 1000. */
  everyMs?: number | undefined
}

export interface Page<T> {
  /** The newest answer. It stays when later requests fail. */
  value: T | undefined
  /** HTTP status of the newest answer; 0: none yet. */
  status: number
  error: string | null
  /** When the newest answer came, Unix milliseconds of this machine; 0: none yet. */
  updatedAt: number
  /** The last request failed, or the next answer is three seconds overdue: `value` is the last known, not the present. */
  isStale: boolean
}

/**
 * One of the gateway's JSON pages (`/api/market-data/health`, …), asked for again and again while the component is
 * mounted; asked once for all who want it. Without a path nothing is asked. The type is the caller's word: nothing checks it.
 */
export function usePage<T = unknown>(path: string | undefined, options: UsePageOptions = {}): Page<T> {
  const { url, everyMs = 1000 } = options
  const subscribe = useCallback(
    (listener: () => void) => {
      const address = path === undefined ? undefined : pageUrl(path, url)
      return address === undefined ? () => {} : sharedPage(address).subscribe(listener, everyMs)
    },
    [path, url, everyMs],
  )
  const snapshot = () => {
    const address = path === undefined ? undefined : pageUrl(path, url)
    return address === undefined ? NO_PAGE : pageView(address)
  }
  return useSyncExternalStore(subscribe, snapshot, () => NO_PAGE) as Page<T>
}
