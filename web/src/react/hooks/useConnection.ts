import { useCallback, useMemo } from 'react'
import { sharedAt } from '../../core/shared.js'
import type { ConnectionStatus } from '../../core/types.js'
import { useStatus } from './live.js'

export interface ConnectionView extends ConnectionStatus {
  /** Reverts `disconnect()`, or connects at once during a delay. */
  connect: () => void
  /** Closes the page's connection for all hooks; it stays closed until `connect()`. */
  disconnect: () => void
}

/** The status of the page's connection to the gateway, that of hooks without `minProof`. Does not open it: a page without other hooks has no connection. */
export function useConnection(url?: string): ConnectionView {
  const status = useStatus({ url })
  const connect = useCallback(() => sharedAt(url)?.connection.connect(), [url])
  const disconnect = useCallback(() => sharedAt(url)?.connection.disconnect(), [url])
  return useMemo(() => ({ ...status, connect, disconnect }), [status, connect, disconnect])
}
