// How hooks look at the shared connection: they hold what they want of it while mounted, and select from its board.

import { useCallback, useEffect, useRef, useSyncExternalStore } from 'react'
import type { Board } from '../../core/board.js'
import type { Interest } from '../../core/connection.js'
import { sharedAt } from '../../core/shared.js'
import type { ConnectionStatus } from '../../core/types.js'

/** Holds `interest` while the component is mounted and `isActive`. Equal content is the same interest, whatever the arrays. */
export function useHold(url: string | undefined, interest: Interest, isActive = true): void {
  const content = JSON.stringify(interest, (_, value: unknown) => (typeof value === 'number' ? String(value) : value))
  useEffect(() => {
    if (!isActive) return
    const hold = sharedAt(url)?.connection.hold(interest)
    return () => hold?.end()
    // `content` stands for `interest`.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [url, content, isActive])
}

/**
 * What `select` finds on the board; the component is drawn again only when that is something else by `isSame`, and at
 * most once per frame. On a server, and where there is no gateway, `nothing`, which has to be a constant.
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

/** Same items in the same order. */
export function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at])
}

export const NONE: readonly never[] = []
