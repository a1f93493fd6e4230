// Prices of pairs over server-sent events: one EventSource for all who want the same pairs, whatever array they bring.
// It is open while somebody listens. The browser reconnects what is cut; what it gives up for ever (any status but
// 200), and what is silent for long, is opened anew here.

import { backoff } from './backoff.js'
import { environment, pageUrl, type Environment, type EventsLike } from './environment.js'
import { parseStreamEvent, type PriceUpdate } from './messages.js'
import { Pacer } from './pacer.js'

export type PriceStreamStatus = 'connecting' | 'connected' | 'error' | 'degraded' | 'idle'

/** What a stream knows, as one value that never changes in place. */
export interface StreamView {
  /** The last price of each pair, as asked. */
  prices: ReadonlyMap<string, PriceUpdate>
  /** `degraded`: connected, and some pair has no fresh price. `idle`: no pairs. */
  status: PriceStreamStatus
  /** Unix milliseconds of this machine; 0: no price yet. */
  lastUpdate: number
  error: Error | null
  /** Pairs without a fresh price, in the order asked. */
  stalePairs: readonly string[]
}

export const EMPTY_STREAM: StreamView = { prices: new Map(), status: 'idle', lastUpdate: 0, error: null, stalePairs: [] }
const CONNECTING: StreamView = { ...EMPTY_STREAM, status: 'connecting' }

/** As for the WebSocket: the next listener often comes at once. */
const LINGER = 200
/** A stream without any price for this long is an error. */
const PRICE_WITHIN = 20_000
/** A stream that says nothing for this long is opened anew. */
const SILENCE_MAX = 45_000
/** The gateway sends every fresh pair each second; a pair without a word for this long is not fresh. */
const WORD_WITHIN = 5000
/** A pair whose timestamp stands still for this long is not fresh either. Clocks are not compared. */
const STANDS_STILL = 30_000
const SWEEP = 1000
const CLOSED = 2

interface Heard {
  at: number
  timestamp: number
  movedAt: number
}

/** See the head of this file. */
export class PriceFeed {
  readonly pairs: readonly string[]
  #url: string
  #ended: () => void
  #environment: Environment
  #pacer: Pacer
  #listeners = new Set<() => void>()
  #view = CONNECTING

  #source: EventsLike | undefined
  #status: 'connecting' | 'connected' | 'error' = 'connecting'
  #error: Error | null = null
  #prices = new Map<string, PriceUpdate>()
  #heard = new Map<string, Heard>()
  #isPriceNew = false
  #lastUpdate = 0
  #isOn = false
  #startedAt = 0
  #connectedAt = 0
  #wordAt = 0
  #attempts = 0
  #lingering: unknown
  #sweeping: unknown
  #waiting: unknown

  constructor(url: string, pairs: readonly string[], own: Partial<Environment> = {}, ended = () => {}) {
    this.#url = url
    this.#ended = ended
    this.pairs = pairs
    this.#environment = environment(own)
    this.#pacer = new Pacer(this.#environment, () => this.#publish())
  }

  get view(): StreamView {
    return this.#view
  }

  /** Opens the stream if need be and calls `listener` after each frame that changed the view; the result ends that. */
  subscribe(listener: () => void): () => void {
    const { setTimeout, clearTimeout } = this.#environment
    const own = () => listener()
    clearTimeout(this.#lingering)
    this.#listeners.add(own)
    if (!this.#isOn) this.#start()
    return () => {
      if (this.#listeners.delete(own) && this.#listeners.size === 0) this.#lingering = setTimeout(() => this.#stop(), LINGER)
    }
  }

  #start(): void {
    this.#isOn = true
    this.#startedAt = this.#environment.now()
    this.#open()
    this.#sweepLater()
  }

  #stop(): void {
    const { clearTimeout } = this.#environment
    this.#close()
    clearTimeout(this.#waiting)
    clearTimeout(this.#sweeping)
    this.#pacer.cancel()
    this.#prices.clear()
    this.#heard.clear()
    this.#status = 'connecting'
    this.#error = null
    this.#isOn = false
    this.#lastUpdate = this.#attempts = 0
    this.#view = CONNECTING
    this.#ended()
  }

  #open(): void {
    this.#close()
    this.#wordAt = this.#environment.now()
    try {
      const source = new this.#environment.EventSource(this.#url)
      this.#source = source
      source.onmessage = (event) => this.#event(event.data)
      source.onerror = () => this.#broken(source.readyState === CLOSED)
    } catch {
      this.#broken(true)
    }
  }

  #close(): void {
    const source = this.#source
    this.#source = undefined
    if (!source) return
    source.onmessage = source.onerror = null
    source.close()
  }

  #broken(isForGood: boolean): void {
    this.#fail(new Error('Connection to the price stream lost'))
    if (isForGood) this.#openLater()
  }

  #fail(error: Error): void {
    this.#status = 'error'
    this.#error = error
    this.#pacer.request()
  }

  #openLater(): void {
    this.#close()
    const { setTimeout, clearTimeout, random } = this.#environment
    clearTimeout(this.#waiting)
    this.#waiting = setTimeout(() => this.#open(), backoff(this.#attempts, 0, random()))
    this.#attempts += 1
  }

  #event(data: unknown): void {
    const event = parseStreamEvent(data)
    if (!event) return
    const now = this.#environment.now()
    this.#wordAt = now
    this.#attempts = 0
    if (this.#status !== 'connected') {
      this.#status = 'connected'
      this.#error = null
      this.#connectedAt = now
    }
    if ('pair' in event && this.pairs.includes(event.pair)) {
      const heard = this.#heard.get(event.pair)
      const moved = heard?.timestamp !== event.timestamp
      this.#heard.set(event.pair, { at: now, timestamp: event.timestamp, movedAt: moved ? now : heard!.movedAt })
      this.#prices.set(event.pair, event)
      this.#lastUpdate = this.#environment.unixNow()
      this.#isPriceNew = true
    }
    this.#pacer.request()
  }

  #sweepLater(): void {
    this.#sweeping = this.#environment.setTimeout(() => {
      const now = this.#environment.now()
      if (this.#source && now - this.#wordAt > SILENCE_MAX) this.#openLater()
      if (this.#lastUpdate === 0 && now - this.#startedAt >= PRICE_WITHIN && this.#error === null) {
        this.#fail(new Error('No price data received'))
      }
      this.#publish()
      this.#sweepLater()
    }, SWEEP)
  }

  #isStale(pair: string, now: number): boolean {
    const heard = this.#heard.get(pair)
    if (this.#status !== 'connected') return this.#status === 'error'
    if (!heard) return now - this.#connectedAt > WORD_WITHIN
    // A new connection has a moment to bring each pair.
    return now - Math.max(heard.at, this.#connectedAt) > WORD_WITHIN || now - heard.movedAt > STANDS_STILL
  }

  #publish(): void {
    const now = this.#environment.now()
    const { prices, stalePairs } = this.#view
    const stale = this.pairs.filter((pair) => this.#isStale(pair, now))
    const next: StreamView = {
      prices: this.#isPriceNew ? new Map(this.#prices) : prices,
      status: this.#status === 'connected' && stale.length > 0 ? 'degraded' : this.#status,
      lastUpdate: this.#lastUpdate,
      error: this.#error,
      stalePairs: stale.join() === stalePairs.join() ? stalePairs : stale,
    }
    this.#isPriceNew = false
    if ((Object.keys(next) as (keyof StreamView)[]).every((name) => next[name] === this.#view[name])) return
    this.#view = next
    ;[...this.#listeners].forEach((listener) => listener())
  }
}

const all = new Map<string, PriceFeed>()
const addressOf = (pairs: readonly string[], url?: string) => {
  const sorted = [...new Set(pairs)].sort()
  return sorted.length > 0 ? pageUrl('/api/market-data/stream', url, { pairs: sorted.join() }) : undefined
}

/**
 * The page's own stream of these pairs, in any order, at a gateway; nothing without pairs or a page. Browsers allow six
 * connections to a host over HTTP/1.1: a page should keep to few sets of pairs.
 */
export function sharedStream(pairs: readonly string[], url?: string): PriceFeed | undefined {
  const address = addressOf(pairs, url)
  if (address === undefined) return undefined
  let feed = all.get(address)
  if (!feed) {
    // Nobody listens any more: the next one begins anew.
    feed = new PriceFeed(address, [...new Set(pairs)].sort(), {}, () => all.delete(address))
    all.set(address, feed)
  }
  return feed
}

/** What the page's stream of these pairs shows now, without opening one. */
export function streamView(pairs: readonly string[], url?: string): StreamView {
  const address = addressOf(pairs, url)
  return address === undefined ? EMPTY_STREAM : (all.get(address)?.view ?? CONNECTING)
}
