// A page in a test: its gateway, its time, and hooks mounted on it.
import { act, cleanup, render } from '@testing-library/react'
import { StrictMode, createElement, type ReactNode } from 'react'
import { afterEach, beforeEach, expect, vi } from 'vitest'
import { FakeEvents, FakeGateway, holdTime } from './rig.js'

/** The gateway of the running test. */
export let gateway: FakeGateway

/** For each test of the file: a gateway where the page comes from, time that stands still, and nothing left at the end. */
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

/** Lets time go by, with everything that React makes of it. */
export function pass(ms: number): void {
  act(() => void vi.advanceTimersByTime(ms))
}

/** A mounted hook: what it returned last, and how often it was drawn. */
export interface Mounted<T> {
  readonly now: T
  readonly draws: number
  again(): void
  unmount(): void
}

/** Calls `use` in a component of its own; `again` draws it anew, as a parent would. */
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
