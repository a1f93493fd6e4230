// Access of hooks to the shared connection: a hook holds its subscription while it is mounted, and selects from the board.

import { useCallback, useEffect, useRef, useSyncExternalStore } from 'react'
import type { Board } from '../../core/board.js'
import type { Interest } from '../../core/connection.js'
import { sharedAt } from '../../core/shared.js'
import type { ConnectionStatus } from '../../core/types.js'

/** Holds `interest` while the component is mounted and `isActive`. Interests with equal content are the same. */
export function useHold(url: string | undefined, interest: Interest, isActive = true): void {
  const content = JSON.stringify(interest, (_, value: unknown) => (typeof value === 'number' ? String(value) : value))
  useEffect(() => {
    if (!isActive) return
    const hold = sharedAt(url)?.connection.hold(interest)
    return () => hold?.end()
    // `content` represents `interest`.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [url, content, isActive])
}

/**
 * The result of `select` on the board. The component is drawn again only if the result differs by `isSame`, at most once per frame.
 * On a server and without a gateway the result is `nothing`, which must be a constant.
 */
export function useBoard<T>(
  url: string | undefined,
  select: (board: Board) => T,
  nothing: T,
  isSame: (a: T, b: T) => boolean = Object.is,
): T {
  const last = useRef(nothing)
  const subscribe = useCallback((listener: () => void) => sharedAt(url)?.board.subscribe(listener) ?? (() => {}), [url])
  const snapshot = () => {
    const live = sharedAt(url)
    const next = live ? select(live.board) : nothing
    if (!isSame(last.current, next)) last.current = next
    return last.current
  }
  return useSyncExternalStore(subscribe, snapshot, () => nothing)
}

const OFFLINE: ConnectionStatus = { state: 'idle', isConnected: false, error: null, attempts: 0 }

export function useStatus(url: string | undefined): ConnectionStatus {
  return useBoard(url, (board) => board.status, OFFLINE)
}

/** Whether both have the same items in the same order. */
export function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at])
}

export const NONE: readonly never[] = []
