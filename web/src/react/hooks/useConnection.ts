import type { ConnectionState } from '../../core/types.js'

export interface ConnectionView {
  state: ConnectionState
  isConnected: boolean
  /** The last error that the gateway told, or why the connection is lost. */
  error: string | null
  /** Attempts since the connection was lost. */
  attempts: number
}

/** The page's connection to the gateway. Looks on only: a page without other hooks has no connection. */
export function useConnection(_url?: string): ConnectionView {
  return { state: 'idle', isConnected: false, error: null, attempts: 0 }
}
