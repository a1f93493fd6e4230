// Access of hooks to the shared connection: a hook holds its subscription while it is mounted, and selects from the board.

import { useCallback, useEffect, useRef, useSyncExternalStore } from 'react'
import type { Board } from '../../core/board.js'
import type { Interest } from '../../core/connection.js'
import { sharedAt } from '../../core/shared.js'
import type { ConnectionStatus } from '../../core/types.js'
import type { AlertOptions } from './options.js'

/** Which shared connection a hook uses: the gateway, and the proof that it asks for. */
export type Place = Pick<AlertOptions, 'url' | 'minProof'>

/** Holds `interest` while the component is mounted and `isActive`. Interests with equal content are the same. */
export function useHold({ url, minProof }: Place, interest: Interest, isActive = true): void {
  const content = JSON.stringify(interest, (_, value: unknown) => (typeof value === 'number' ? String(value) : value))
  useEffect(() => {
    if (!isActive) return
    const hold = sharedAt(url, minProof)?.connection.hold({ ...interest, minProof })
    return () => hold?.end()
    // `content` represents `interest`.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [url, minProof, content, isActive])
}

/**
 * The result of `select` on the board. The component is drawn again only if the result differs by `isSame`, at most once per frame.
 * On a server and without a gateway the result is `nothing`, which must be a constant.
 */
export function useBoard<T>(
  { url, minProof }: Place,
  select: (board: Board) => T,
  nothing: T,
  isSame: (a: T, b: T) => boolean = Object.is,
): T {
  const last = useRef(nothing)
  const subscribe = useCallback((listener: () => void) => sharedAt(url, minProof)?.board.subscribe(listener) ?? (() => {}), [url, minProof])
  const snapshot = () => {
    const live = sharedAt(url, minProof)
    const next = live ? select(live.board) : nothing
    if (!isSame(last.current, next)) last.current = next
    return last.current
  }
  return useSyncExternalStore(subscribe, snapshot, () => nothing)
}

const OFFLINE: ConnectionStatus = { state: 'idle', isConnected: false, error: null, attempts: 0 }

export function useStatus(place: Place): ConnectionStatus {
  return useBoard(place, (board) => board.status, OFFLINE)
}

/** Whether both have the same items in the same order. */
export function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at])
}

export const NONE: readonly never[] = []
