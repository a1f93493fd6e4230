import { useCallback, useSyncExternalStore } from 'react'
import { pageUrl } from '../../core/environment.js'
import { NO_PAGE, pageView, sharedPage } from '../../core/page.js'

export interface UsePageOptions {
  /** The gateway, such as `https://host`. Default: the origin of the page. */
  url?: string | undefined
  /** Milliseconds between two requests. Default 1000. */
  everyMs?: number | undefined
}

export interface Page<T> {
  /** The latest response; retained when later requests fail. */
  value: T | undefined
  /** HTTP status of the latest response; 0: none yet. */
  status: number
  error: string | null
  /** When the latest response arrived, in Unix milliseconds of this machine; 0: none yet. */
  updatedAt: number
  /** The last request failed, or the next response is three seconds overdue: `value` is the last known one. */
  isStale: boolean
}

/**
 * Polls one of the gateway's JSON pages (`/api/market-data/health`, …) while the component is mounted. All components share the
 * requests. Without a path nothing is requested. The type `T` is not checked.
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
