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
}

/** One of the gateway's JSON pages (`/api/market-data/health`, …), asked for again and again while the page is looked at; asked once for all who want it. */
export function usePage<T = unknown>(_path: string, _options: UsePageOptions = {}): Page<T> {
  return { value: undefined, status: 0, error: null, updatedAt: 0 }
}
