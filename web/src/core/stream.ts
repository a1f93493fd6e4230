// Prices of pairs over server-sent events. All listeners of a gateway share one EventSource with the union of their pairs,
// because browsers allow six connections to a host over HTTP/1.1. When the union changes, a new stream is opened, and the old one
// is closed after the first event of the new one, so that prices do not pause. The browser reconnects a stream that was cut. This
// module opens a new one after a fatal error (any status but 200) or a long silence.

import { backoff } from './backoff.js'
import { environment, pageUrl, type Environment, type EventsLike } from './environment.js'
import { parseStreamEvent, type PriceUpdate } from './messages.js'
import { Pacer } from './pacer.js'
import { STREAM_BEAT, isSilent } from './silence.js'

export type PriceStreamStatus = 'connecting' | 'connected' | 'error' | 'degraded' | 'idle'

/** The state of a stream, as an immutable value. */
export interface StreamView {
  /** The last price of each pair, as requested. */
  prices: ReadonlyMap<string, PriceUpdate>
  /** `degraded`: connected, and some pair has no fresh price. `idle`: no pairs. */
  status: PriceStreamStatus
  /** When the latest price arrived, in Unix milliseconds of this machine; 0: no price yet. */
  lastUpdate: number
  error: Error | null
  /** Pairs without a fresh price, in the order of the request. */
  stalePairs: readonly string[]
}

export const EMPTY_STREAM: StreamView = { prices: new Map(), status: 'idle', lastUpdate: 0, error: null, stalePairs: [] }
const CONNECTING: StreamView = { ...EMPTY_STREAM, status: 'connecting' }

/** Milliseconds until a stream without listeners is closed: the next listener often follows at once. */
const LINGER = 200
/** The first stream is opened at once. Pairs of components that mount together follow in one stream, this many milliseconds later. */
const GATHER = 20
/** Least milliseconds between two further changes of the union. */
const OPENED_APART = 500
/** Milliseconds without a price after which the stream reports an error. */
const PRICE_WITHIN = 20_000
/** Milliseconds of silence after which a stream is replaced. */
const SILENCE_MAX = 45_000
/** Milliseconds without a change of its timestamp after which a pair is stale. Clocks are not compared. */
const STANDS_STILL = 30_000
const SWEEP = 1000
const CLOSED = 2
/** Longest address in characters: the gateway accepts request lines of 4 KiB. More pairs need several streams. */
const ADDRESS_MAX = 3500
/** Format of a pair. The gateway rejects the whole stream if one pair has another format. */
const PAIR = /^[A-Z0-9]{1,10}\/[A-Z0-9]{3,10}$/

/** One EventSource. */
interface Line {
  readonly url: string
  readonly pairs: ReadonlySet<string>
  source: EventsLike | undefined
  state: 'connecting' | 'connected' | 'broken'
  wordAt: number
  attempts: number
  waiting: unknown
}

interface Heard {
  price: PriceUpdate
  /** On the monotonic clock: when the latest price arrived, and when its timestamp last changed. */
  at: number
  movedAt: number
  /** Unix milliseconds. */
  unixAt: number
}

/** All requested pairs of one gateway. See the head of this file. */
export class PairStream {
  #url: string | undefined
  #ended: () => void
  #environment: Environment
  #pacer: Pacer
  #known = new Map<string, PriceFeed>()
  #feeds = new Set<PriceFeed>()
  #lines: Line[] = []
  /** Replaced streams, closed when each of `#lines` has sent an event. */
  #leaving: Line[] = []
  #heard = new Map<string, Heard>()
  /** When the line of each pair was connected. */
  #since = new Map<string, number>()
  #openedAt = -Infinity
  #opening: unknown
  #sweeping: unknown

  /** `url` is an address that `pageUrl` accepts; `ended` is called after the last listener has left. */
  constructor(url?: string, own: Partial<Environment> = {}, ended = () => {}) {
    this.#url = url
    this.#ended = ended
    this.#environment = environment(own)
    this.#pacer = new Pacer(this.#environment, () => this.#feeds.forEach((feed) => feed.publish()))
  }

  /** The feed of some pairs; the same object for the same pairs in any order. */
  feed(pairs: readonly string[]): PriceFeed {
    const key = keyOf(pairs)
    let feed = this.#known.get(key)
    if (!feed) this.#known.set(key, (feed = new PriceFeed(this, [...new Set(pairs)].sort(), this.#environment)))
    return feed
  }

  /** The current view of the feed of these pairs, which may be closed. */
  view(pairs: readonly string[]): StreamView {
    return this.#known.get(keyOf(pairs))?.view ?? CONNECTING
  }

  /** @internal */
  add(feed: PriceFeed): void {
    const isFirst = this.#feeds.size === 0
    this.#feeds.add(feed)
    this.#known.set(keyOf(feed.pairs), feed)
    if (!isFirst) return this.#openLater()
    this.#openWanted()
    this.#openedAt = -Infinity
    this.#sweepLater()
  }

  /** @internal */
  remove(feed: PriceFeed): void {
    this.#feeds.delete(feed)
    this.#known.delete(keyOf(feed.pairs))
    if (this.#feeds.size > 0) return this.#openLater()
    const { clearTimeout } = this.#environment
    clearTimeout(this.#opening)
    clearTimeout(this.#sweeping)
    this.#opening = undefined
    this.#pacer.cancel()
    ;[...this.#lines.splice(0), ...this.#leaving.splice(0)].forEach((line) => this.#close(line))
    this.#heard.clear()
    this.#openedAt = -Infinity
    this.#ended()
  }

  /** @internal The latest price of a pair. */
  heard(pair: string): Heard | undefined {
    return this.#heard.get(pair)
  }

  /** @internal The status of the stream of a pair. */
  stateOf(pair: string): Line['state'] {
    if (this.#since.has(pair)) return 'connected'
    return this.#lines.some((line) => line.state === 'broken' && line.pairs.has(pair)) ? 'broken' : 'connecting'
  }

  /** @internal Whether a connected stream has no fresh price of a pair. */
  isQuiet(pair: string): boolean {
    const now = this.#environment.now()
    const heard = this.#heard.get(pair)
    // A new connection has some time to send each pair.
    const quiet = now - Math.max(heard?.at ?? -Infinity, this.#since.get(pair) ?? now)
    return isSilent(quiet, STREAM_BEAT) || (heard !== undefined && now - heard.movedAt > STANDS_STILL)
  }

  #openLater(): void {
    if (this.#opening !== undefined) return
    const { now, setTimeout } = this.#environment
    this.#opening = setTimeout(
      () => {
        this.#opening = undefined
        this.#openWanted()
      },
      Math.max(GATHER, this.#openedAt + OPENED_APART - now()),
    )
  }

  #openWanted(): void {
    const wanted = new Set([...this.#feeds].flatMap((feed) => feed.pairs).filter((pair) => PAIR.test(pair)))
    for (const pair of this.#heard.keys()) {
      if (!wanted.has(pair)) this.#heard.delete(pair)
    }
    const parts = partsOf([...wanted].sort(), this.#url)
    const isSame = parts.length === this.#lines.length && parts.every(([url]) => this.#lines.some((line) => line.url === url))
    if (isSame) return
    this.#openedAt = this.#environment.now()
    const before = this.#lines
    this.#lines = parts.map(([url, pairs]) => {
      const existing = before.find((line) => line.url === url)
      return existing ?? { url, pairs: new Set(pairs), source: undefined, state: 'connecting', wordAt: 0, attempts: 0, waiting: undefined }
    })
    this.#leaving.push(...before.filter((line) => !this.#lines.includes(line)))
    this.#lines.filter((line) => !before.includes(line)).forEach((line) => this.#open(line))
    this.#closeLeaving()
    this.#pacer.request()
  }

  #open(line: Line): void {
    this.#detach(line)
    line.wordAt = this.#environment.now()
    try {
      const source = new this.#environment.EventSource(line.url)
      line.source = source
      source.onmessage = (event) => this.#event(line, event.data)
      source.onerror = () => this.#broken(line, source.readyState === CLOSED)
    } catch {
      this.#broken(line, true)
    }
  }

  #detach({ source, waiting }: Line): void {
    this.#environment.clearTimeout(waiting)
    if (!source) return
    source.onmessage = source.onerror = null
    source.close()
  }

  #close(line: Line): void {
    this.#detach(line)
    line.source = undefined
    this.#become(line, 'broken')
  }

  /** Closes replaced streams, and those without events. */
  #closeLeaving(): void {
    const isReplaced = this.#lines.every(({ state }) => state === 'connected')
    const gone = this.#leaving.filter(({ state }) => isReplaced || state !== 'connected')
    this.#leaving = this.#leaving.filter((line) => !gone.includes(line))
    gone.forEach((line) => this.#close(line))
  }

  #become(line: Line, state: Line['state']): void {
    line.state = state
    for (const pair of line.pairs) {
      const isConnected = [...this.#lines, ...this.#leaving].some((other) => other.state === 'connected' && other.pairs.has(pair))
      if (!isConnected) this.#since.delete(pair)
      else if (!this.#since.has(pair)) this.#since.set(pair, this.#environment.now())
    }
    this.#pacer.request()
  }

  #broken(line: Line, isForGood: boolean): void {
    this.#become(line, 'broken')
    if (this.#leaving.includes(line)) this.#closeLeaving()
    else if (isForGood) this.#openAgain(line)
  }

  #openAgain(line: Line): void {
    const { setTimeout, random } = this.#environment
    this.#detach(line)
    line.source = undefined
    line.waiting = setTimeout(() => this.#open(line), backoff(line.attempts, 0, random()))
    line.attempts += 1
  }

  #event(line: Line, data: unknown): void {
    const event = parseStreamEvent(data)
    if (!event) return
    const { now, unixNow } = this.#environment
    line.wordAt = now()
    line.attempts = 0
    if (line.state !== 'connected') {
      this.#become(line, 'connected')
      this.#closeLeaving()
    }
    if ('pair' in event && line.pairs.has(event.pair)) {
      const before = this.#heard.get(event.pair)
      const isMoved = before?.price.timestamp !== event.timestamp
      this.#heard.set(event.pair, { price: event, at: now(), movedAt: isMoved ? now() : before!.movedAt, unixAt: unixNow() })
    }
    this.#pacer.request()
  }

  #sweepLater(): void {
    this.#sweeping = this.#environment.setTimeout(() => {
      const now = this.#environment.now()
      for (const line of this.#lines) {
        if (!line.source || now - line.wordAt <= SILENCE_MAX) continue
        this.#become(line, 'broken')
        this.#openAgain(line)
      }
      this.#feeds.forEach((feed) => feed.publish())
      this.#sweepLater()
    }, SWEEP)
  }
}

/** A set of pairs of a gateway, shared by all its listeners. Created by {@link PairStream.feed}. */
export class PriceFeed {
  readonly pairs: readonly string[]
  #stream: PairStream
  #environment: Environment
  #listeners = new Set<() => void>()
  #view = CONNECTING
  #isOn = false
  #startedAt = 0
  #lingering: unknown

  /** @internal */
  constructor(stream: PairStream, pairs: readonly string[], own: Environment) {
    this.#stream = stream
    this.#environment = own
    this.pairs = pairs
  }

  get view(): StreamView {
    return this.#view
  }

  /** Opens the stream if necessary and calls `listener` after each frame that changed the view. Returns the function that unsubscribes. */
  subscribe(listener: () => void): () => void {
    const { now, setTimeout, clearTimeout } = this.#environment
    const own = () => listener()
    clearTimeout(this.#lingering)
    this.#listeners.add(own)
    if (!this.#isOn) {
      this.#isOn = true
      this.#startedAt = now()
      this.#stream.add(this)
      // Other listeners may already have prices of these pairs.
      this.publish()
    }
    return () => {
      if (this.#listeners.delete(own) && this.#listeners.size === 0) this.#lingering = setTimeout(() => this.#stop(), LINGER)
    }
  }

  #stop(): void {
    this.#isOn = false
    this.#view = CONNECTING
    this.#stream.remove(this)
  }

  /** @internal Updates the view and notifies listeners. */
  publish(): void {
    const next = this.#next()
    if ((Object.keys(next) as (keyof StreamView)[]).every((name) => next[name] === this.#view[name])) return
    this.#view = next
    ;[...this.#listeners].forEach((listener) => listener())
  }

  #next(): StreamView {
    const was = this.#view
    const prices = new Map<string, PriceUpdate>()
    let lastUpdate = 0
    for (const pair of this.pairs) {
      const heard = this.#stream.heard(pair)
      if (!heard) continue
      prices.set(pair, heard.price)
      lastUpdate = Math.max(lastUpdate, heard.unixAt)
    }
    const isSame = prices.size === was.prices.size && [...prices].every(([pair, price]) => was.prices.get(pair) === price)
    const valid = this.pairs.filter((pair) => PAIR.test(pair))
    const states = new Map(valid.map((pair) => [pair, this.#stream.stateOf(pair)]))
    const isBroken = [...states.values()].includes('broken')
    const isConnected = valid.every((pair) => states.get(pair) === 'connected')
    const stale = this.pairs.filter((pair) => {
      const state = states.get(pair) ?? 'broken'
      return state === 'broken' || (state === 'connected' && this.#stream.isQuiet(pair))
    })
    const isLate = prices.size === 0 && this.#environment.now() - this.#startedAt >= PRICE_WITHIN
    const wrong = this.pairs.filter((pair) => !PAIR.test(pair))
    const failure = isBroken ? 'Connection to the price stream lost' : isLate ? 'No price data received' : undefined
    const message = failure ?? (wrong.length > 0 ? `Not a pair: ${wrong.join(', ').slice(0, 80)}` : undefined)
    const troubled = failure !== undefined || valid.length === 0 ? 'error' : isConnected ? 'connected' : 'connecting'
    return {
      prices: isSame ? was.prices : prices,
      status: troubled === 'connected' && stale.length > 0 ? 'degraded' : troubled,
      lastUpdate,
      error: message === undefined ? null : was.error?.message === message ? was.error : new Error(message),
      stalePairs: stale.join() === was.stalePairs.join() ? was.stalePairs : stale,
    }
  }
}

const keyOf = (pairs: readonly string[]) => [...new Set(pairs)].sort().join()

/** Divides pairs into as few addresses as possible. */
function partsOf(pairs: readonly string[], url: string | undefined): [string, string[]][] {
  const address = (some: readonly string[]) => pageUrl('/api/market-data/stream', url, { pairs: some.join() }) ?? ''
  const parts: string[][] = []
  let length = Infinity
  for (const pair of pairs) {
    const more = encodeURIComponent(pair).length + 3
    if (length + more > ADDRESS_MAX) {
      parts.push([])
      length = address([]).length
    }
    parts.at(-1)!.push(pair)
    length += more
  }
  return parts.map((part) => [address(part), part])
}

const all = new Map<string, PairStream>()

/** The shared feed of these pairs; `undefined` without pairs or without a page. */
export function sharedStream(pairs: readonly string[], url?: string): PriceFeed | undefined {
  const address = pairs.length > 0 ? pageUrl('', url) : undefined
  if (address === undefined) return undefined
  let stream = all.get(address)
  if (!stream) all.set(address, (stream = new PairStream(address, {}, () => all.delete(address))))
  return stream.feed(pairs)
}

/** The current view of the shared feed of these pairs; opens no stream. */
export function streamView(pairs: readonly string[], url?: string): StreamView {
  const address = pairs.length > 0 ? pageUrl('', url) : undefined
  return address === undefined ? EMPTY_STREAM : (all.get(address)?.view(pairs) ?? CONNECTING)
}
