// A page in a test: its gateway, its clock, and mounted hooks.
import { act, cleanup, render } from '@testing-library/react'
import { StrictMode, createElement, type ReactNode } from 'react'
import { afterEach, beforeEach, expect, vi } from 'vitest'
import { FakeEvents, FakeGateway, holdTime } from './rig.js'

/** The gateway of the running test. */
export let gateway: FakeGateway

/** Sets up each test of the file: a gateway at the origin of the page, a hand-turned clock, and a check that nothing is left open. */
export function onePage(): void {
  beforeEach(() => {
    holdTime()
    gateway = new FakeGateway()
    FakeEvents.all = []
    vi.stubGlobal('WebSocket', gateway.WebSocket)
    vi.stubGlobal('EventSource', FakeEvents)
  })
  afterEach(() => {
    cleanup()
    pass(2000)
    expect(gateway.open.length, 'sockets left open').toBe(0)
    expect(FakeEvents.open.length, 'streams left open').toBe(0)
    vi.unstubAllGlobals()
    vi.useRealTimers()
  })
}

/** Advances the clock, with all updates of React. */
export function pass(ms: number): void {
  act(() => void vi.advanceTimersByTime(ms))
}

/** A mounted hook: its last result, and the number of draws. */
export interface Mounted<T> {
  readonly now: T
  readonly draws: number
  again(): void
  unmount(): void
}

/** Calls `use` in its own component; `again` draws it again, as a parent would. */
export function mount<T>(use: () => T, { strict = false } = {}): Mounted<T> {
  let now: T
  let draws = 0
  const Component = () => {
    draws++
    now = use()
    return null
  }
  const tree = (): ReactNode => (strict ? createElement(StrictMode, null, createElement(Component)) : createElement(Component))
  const { rerender, unmount } = render(tree())
  return {
    get now() {
      return now
    },
    get draws() {
      return draws
    },
    again: () => rerender(tree()),
    unmount,
  }
}
