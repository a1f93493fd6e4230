// Small elements shared by all components.

import { useEffect, useRef } from 'react'
import type { ReactNode } from 'react'
import { tamed } from './text.js'

/** A name or message from the network, as text with its own direction. */
export function Name({ children, max }: { children: string; max?: number }) {
  return <bdi className="sw-name">{tamed(children, max)}</bdi>
}

/** The exchange to buy on and the exchange to sell on. */
export function Route({ from, to }: { from: string; to: string }) {
  return (
    <span className="sw-route">
      <Spoken>buy on </Spoken>
      <Name>{from}</Name>
      <span aria-hidden="true"> → </span>
      <Spoken>, sell on </Spoken>
      <Name>{to}</Name>
    </span>
  )
}

/** Visible to screen readers only. */
export function Spoken({ children }: { children: ReactNode }) {
  return <span className="sw-spoken">{children}</span>
}

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'plain'

/** A state, as one word. */
export function Pill({ tone = 'plain', children, title }: { tone?: Tone; children: ReactNode; title?: string }) {
  return (
    <span className={`sw-pill sw-${tone}`} title={title}>
      {children}
    </span>
  )
}

/** Shows that the data is the last known, and why; empty while it is current. */
export function NotCurrent({ problem }: { problem: string | null }) {
  if (problem === null) return null
  return (
    <p className="sw-not-current" role="status">
      Not current: <Name max={160}>{problem}</Name>. What is shown is the last that was known.
    </p>
  )
}

/** A dot that pulses while data flows. It is decorative: the text beside it contains the state. */
export function Dot({ on }: { on: boolean }) {
  return <span className={on ? 'sw-dot sw-dot-on' : 'sw-dot'} aria-hidden="true" />
}

/** The origin of prices, in words that distinguish it from live prices. */
export function sourceTone(source: string): Tone {
  if (source === 'live') return 'good'
  return source === 'simulated' || source === 'replay' ? 'warn' : 'info'
}

/** A region that scrolls horizontally, also by keyboard. */
export function Scroller({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className="sw-scroller" role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  )
}

// Clocks shared by all components: one timer per step, which runs while it has listeners.

interface Ticker {
  now: number
  listeners: Set<() => void>
  timer: ReturnType<typeof setInterval> | undefined
}
const tickers = new Map<number, Ticker>()

function ticker(step: number): Ticker {
  let found = tickers.get(step)
  if (!found) {
    found = { now: Date.now(), listeners: new Set(), timer: undefined }
    tickers.set(step, found)
  }
  return found
}

function listen(own: Ticker, step: number, listener: () => void): () => void {
  own.listeners.add(listener)
  own.timer ??= setInterval(() => {
    own.now = Date.now()
    own.listeners.forEach((notify) => notify())
  }, step)
  return () => {
    own.listeners.delete(listener)
    if (own.listeners.size > 0) return
    clearInterval(own.timer)
    own.timer = undefined
  }
}

/**
 * A text that depends on the time, such as an age. It is updated every `step` milliseconds without drawing the component again.
 */
export function Ticking({ text, step = 250 }: { text: (now: number) => string; step?: number }) {
  const place = useRef<HTMLSpanElement>(null)
  const newest = useRef(text)
  newest.current = text
  useEffect(() => {
    const own = ticker(step)
    const stop = listen(own, step, () => {
      if (place.current) place.current.textContent = newest.current(own.now)
    })
    return stop
  }, [step])
  return (
    <span ref={place} suppressHydrationWarning>
      {text(Date.now())}
    </span>
  )
}
