// One connection to `/ws/prices`, shared by the page. It subscribes to the union of what its holders want and sends only
// differences. It is open while it has holders, reconnects automatically and then subscribes again. Timers and the socket come from
// the environment.

import { WAIT_MAX, backoff } from './backoff.js'
import { CountedNames } from './counted.js'
import { environment, type Environment, type SocketLike } from './environment.js'
import { NO_LIMITS, fitting, limitIn, utf8Length, type Wish } from './limits.js'
import { parseMessage, type BookAsked, type ClientMessage, type ErrorMessage, type MinProof, type ServerMessage } from './messages.js'
import { ASK_AFTER, GRACE, isSilent } from './silence.js'
import type { BookWish, ConnectionState, FeedOptions } from './types.js'

/** The subscription of one holder. Prices come for every symbol on every exchange of all holders together. */
export interface Interest extends FeedOptions {
  symbols?: readonly string[] | undefined
  /** Empty: alerts only. */
  exchanges?: readonly string[] | undefined
  /** Order books, independent of `symbols` and `exchanges`. */
  books?: readonly BookWish[] | undefined
  /** Longest delay between two attempts in milliseconds; the smallest value of all holders counts. Default 10000. */
  reconnectInterval?: number | undefined
  /** Attempts before giving up; the largest value of all holders counts. Default: unlimited. */
  maxReconnectAttempts?: number | undefined
}

/** A part of the connection's subscription, until `end()`. */
export interface Hold {
  end(): void
}

/** Events of the connection: messages by `type`, and changes of the connection itself. */
export type ConnectionEvents = { [M in ServerMessage as M['type']]: M } & {
  state: ConnectionState
  /** The union of all subscriptions has changed. */
  interest: void
  /** A frame that is not a message, or of an unknown type. */
  unread: unknown
}

/** Milliseconds until a connection without holders is closed: the next holder often follows at once. */
const LINGER = 200
/** Timeout of opening, in milliseconds. */
const OPEN_WITHIN = 10_000
/** Milliseconds of silence after which the connection is closed and opened again. */
const LOST_AFTER = 15_000
/** Least milliseconds between two requests. The gateway accepts 20 messages per second, and a request is two or more. */
const REQUESTS_APART = 150
/** Milliseconds without requests after `Too many messages`. */
const REQUESTS_REST = 1000
/** Names of each kind in one frame: 2 × 64 × 64 bytes, all escaped, are less than the limit of 64 KiB. */
const NAMES_PER_FRAME = 64
/** Most requests without a reply. Each frame above a limit is rejected, and ten rejections in ten seconds close the connection. */
const UNANSWERED_MAX = 4
/** The gateway's limit of one name, in UTF-8 bytes. */
const NAME_MAX = 64

/** The gateway's default of `levels`. */
const LEVELS = 10

const TOO_MANY_MESSAGES = 'Too many messages'
const SILENT = 'The gateway does not answer'

const PLAIN = { intervalMs: 500, extended: false, opportunities: false, minProof: 'none' as MinProof }
type Feed = typeof PLAIN
const OPTIONS = Object.keys(PLAIN) as (keyof Feed)[]
/** The options as requested; those of a rejected request are unknown. */
type FeedRequested = { [K in keyof Feed]: Feed[K] | undefined }
/** The weakest first. */
const PROOFS: readonly MinProof[] = ['none', 'likely', 'proven']

/** See the head of this file. Most programs use the shared connection from {@link shared}. */
export class Connection {
  readonly url: string
  #environment: Environment
  #listeners = new Map<keyof ConnectionEvents, Set<(event: any) => void>>()

  #holds = new Set<Interest>()
  #symbols = new CountedNames()
  #exchanges = new CountedNames()
  #books = new Map<string, BookAsked>()
  #isStopped = false

  #state: ConnectionState = 'idle'
  #error: string | null = null
  #attempts = 0
  #socket: SocketLike | undefined
  /** The timer of the current state: opening, waiting or silence. */
  #timer: unknown
  #lingering: unknown
  #heardAt = 0

  /** The subscription as requested so far. */
  #requested = nothingRequested()
  /** The subscription in the last reply. */
  #confirmed = { symbols: [] as string[], exchanges: [] as string[], books: [] as BookAsked[] | undefined }
  /** Requests without a reply yet, oldest first. */
  #unanswered: ClientMessage[] = []
  /** Why the gateway rejected one of them. */
  #refusal: 'rate' | 'limit' | 'unknown' | undefined
  /** Limits from the errors of the gateway; retained until the whole subscription fits. */
  #limits = NO_LIMITS
  /** What the gateway rejected for another reason; discarded when the subscription shrinks. */
  #refused = nothingRefused()
  /** The gateway's error message for the limit that applies now. */
  #limitError: string | null = null
  #wishSize = 0
  /** The subscription at the time of the last request. */
  #asked: Wish = { symbols: [], exchanges: [], books: [] }
  /** More requests are pending than {@link UNANSWERED_MAX} allows at once. */
  #hasMore = false
  #requesting: unknown
  #requestedAt = -Infinity

  constructor(url: string, own: Partial<Environment> = {}) {
    this.url = url
    this.#environment = environment(own)
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** The last error of the gateway, or why there is no connection; `null` once it is open again. */
  get error(): string | null {
    return this.#error
  }

  /** Attempts since the connection was lost. */
  get attempts(): number {
    return this.#attempts
  }

  /** The options of all holders together. */
  get feed(): Readonly<Feed> {
    const feed = { ...PLAIN }
    let interval = Infinity
    let proof = PROOFS.length
    for (const { intervalMs, extended, opportunities, minProof, symbols, books } of this.#holds) {
      // A holder of books only has no interval of prices.
      if (intervalMs !== undefined || symbols?.length || !books?.length) interval = Math.min(interval, intervalMs ?? PLAIN.intervalMs)
      feed.extended ||= extended === true
      feed.opportunities ||= opportunities === true
      if (symbols?.length) proof = Math.min(proof, PROOFS.indexOf(minProof ?? PLAIN.minProof))
    }
    feed.minProof = PROOFS[proof] ?? PLAIN.minProof
    feed.intervalMs = interval === Infinity ? PLAIN.intervalMs : interval
    // Without a beat, only a notice of the gateway shows that a price became stale.
    feed.extended ||= feed.intervalMs === 0
    return feed
  }

  /** Whether a holder wants this symbol; on this exchange, if given. */
  wants(symbol: string, exchange?: string): boolean {
    return this.#symbols.has(symbol) && (exchange === undefined || this.#exchanges.has(exchange))
  }

  /** Whether a holder wants the order book of this symbol on this exchange. */
  wantsBook(symbol: string, exchange: string): boolean {
    return this.#books.has(bookKey({ symbol, exchange }))
  }

  /** Opens the connection if necessary. Ignores names that the gateway would reject (empty, or longer than 64 bytes). */
  hold(wanted: Interest): Hold {
    const books = (wanted.books ?? []).filter(({ symbol, exchange }) => this.#names([symbol, exchange]).length === 2)
    const interest = { ...wanted, symbols: this.#names(wanted.symbols), exchanges: this.#names(wanted.exchanges), books }
    this.#holds.add(interest)
    this.#symbols.add(interest.symbols)
    this.#exchanges.add(interest.exchanges)
    this.#interestChanged()
    return {
      end: () => {
        if (!this.#holds.delete(interest)) return
        this.#symbols.remove(interest.symbols)
        this.#exchanges.remove(interest.exchanges)
        this.#interestChanged()
      },
    }
  }

  /** Reverts `disconnect()`, and connects at once after a failure or during a delay. */
  connect(): void {
    this.#isStopped = false
    if (this.#state === 'waiting') this.#start()
    this.#interestChanged()
  }

  /** Closes the connection for all holders; it stays closed until `connect()`. */
  disconnect(): void {
    this.#isStopped = true
    this.#close()
  }

  /** Calls `listener` for each event of this type. Returns the function that unsubscribes. */
  on<K extends keyof ConnectionEvents>(kind: K, listener: (event: ConnectionEvents[K]) => void): () => void {
    let listeners = this.#listeners.get(kind)
    if (!listeners) this.#listeners.set(kind, (listeners = new Set()))
    // Each call has its own entry, even for the same function.
    const own = (event: ConnectionEvents[K]) => listener(event)
    listeners.add(own)
    return () => void listeners.delete(own)
  }

  #emit<K extends keyof ConnectionEvents>(kind: K, event: ConnectionEvents[K]): void {
    this.#listeners.get(kind)?.forEach((listener) => {
      try {
        listener(event)
      } catch (error) {
        // An error of a listener is reported as an uncaught error and does not affect the others.
        this.#environment.setTimeout(() => {
          throw error
        }, 0)
      }
    })
  }

  #names(names: readonly string[] = []): string[] {
    return [...new Set(names)].filter((name) => {
      const isName = typeof name === 'string' && name !== '' && utf8Length(name) <= NAME_MAX
      if (!isName) this.#fail(`Not a name: ${String(name).slice(0, NAME_MAX)}`)
      return isName
    })
  }

  /** Order books of all holders, each with the most levels that any holder wants. */
  #gatherBooks(): Map<string, BookAsked> {
    const all = new Map<string, BookAsked>()
    for (const { books = [] } of this.#holds) {
      for (const { symbol, exchange, levels = LEVELS } of books) {
        const key = bookKey({ symbol, exchange })
        all.set(key, { symbol, exchange, levels: Math.max(levels, all.get(key)?.levels ?? 0) })
      }
    }
    return all
  }

  // Opening, closing, reconnecting.

  #interestChanged(): void {
    const { setTimeout, clearTimeout } = this.#environment
    this.#books = this.#gatherBooks()
    clearTimeout(this.#lingering)
    if (this.#holds.size === 0) this.#lingering = setTimeout(() => this.#close(), LINGER)
    // A new holder starts the attempts again after it gave up.
    else if ((this.#state === 'idle' || this.#state === 'failed') && !this.#isStopped) this.#start()
    this.#wishChanged()
    this.#tellSoon()
    this.#emit('interest', undefined)
  }

  /** A smaller subscription may fit: rejected parts are requested again. */
  #wishChanged(): void {
    const size = [...this.#symbols].length + [...this.#exchanges].length + this.#books.size
    if (size < this.#wishSize) this.#refused = nothingRefused()
    this.#wishSize = size
    if (this.#limitError === null || fitting(this.#wish(), this.#limits).isAll) {
      this.#limits = NO_LIMITS
      if (this.#error === this.#limitError) this.#error = null
      this.#limitError = null
    }
  }

  #wish(): Wish {
    return { symbols: [...this.#symbols], exchanges: [...this.#exchanges], books: [...this.#books.values()] }
  }

  /** The subscription to request: everything that holders want, without what the gateway rejected. */
  #admitted(): Wish {
    const { symbols, exchanges, books } = fitting(this.#wish(), this.#limits)
    const refused = this.#refused
    return {
      symbols: symbols.filter((name) => !refused.symbols.has(name)),
      exchanges: exchanges.filter((name) => !refused.exchanges.has(name)),
      books: books.filter((book) => !refused.books.has(bookKey(book))),
    }
  }

  #start(): void {
    this.#attempts = 0
    this.#open()
  }

  #open(): void {
    this.#setTimer(() => this.#lost(0, SILENT), OPEN_WITHIN)
    let socket: SocketLike
    try {
      socket = new this.#environment.WebSocket(this.url)
    } catch (error) {
      return this.#lost(0, error instanceof Error ? error.message : String(error))
    }
    this.#socket = socket
    // A closed socket has no handlers, so that its late events cannot affect its successor.
    socket.onopen = () => this.#opened()
    socket.onmessage = (event) => this.#heard(event.data)
    socket.onclose = (event) => this.#lost(event.code ?? 0, 'Connection lost')
    socket.onerror = () => {}
    this.#become('connecting')
  }

  #opened(): void {
    this.#requested = nothingRequested()
    this.#confirmed = { symbols: [], exchanges: [], books: [] }
    this.#unanswered = []
    this.#refusal = undefined
    this.#requestedAt = -Infinity
    this.#error = this.#limitError
    this.#heardAt = this.#environment.now()
    this.#listen()
    this.#become('connected')
    this.#request()
  }

  /** The socket is closed or no longer usable. */
  #lost(code: number, reason: string): void {
    this.#drop()
    if (this.#holds.size === 0 || this.#isStopped) return this.#become('idle')
    let longest = Infinity
    let most = 0
    for (const { reconnectInterval = WAIT_MAX, maxReconnectAttempts = Infinity } of this.#holds) {
      longest = Math.min(longest, reconnectInterval)
      most = Math.max(most, maxReconnectAttempts)
    }
    this.#error = reason
    if (this.#attempts >= most) return this.#become('failed')
    const wait = backoff(this.#attempts, code, this.#environment.random(), longest)
    this.#attempts += 1
    this.#setTimer(() => this.#open(), wait)
    this.#become('waiting')
  }

  #close(): void {
    this.#drop()
    this.#attempts = 0
    this.#become('idle')
  }

  #drop(): void {
    this.#setTimer(undefined, 0)
    this.#environment.clearTimeout(this.#requesting)
    this.#requesting = undefined
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    try {
      socket.close()
    } catch {
      // It is dropped in any case.
    }
  }

  #become(state: ConnectionState): void {
    if (this.#state === state && state !== 'waiting') return
    this.#state = state
    this.#emit('state', state)
  }

  #fail(error: string): void {
    this.#error = error
    this.#emit('error', { type: 'error', message: error })
  }

  #setTimer(call: (() => void) | undefined, ms: number): void {
    this.#environment.clearTimeout(this.#timer)
    this.#timer = call && this.#environment.setTimeout(call, ms)
  }

  /** After silence: sends a request, then reports that the gateway does not answer, then drops the connection. A dead peer sends no close. */
  #listen(): void {
    const quiet = this.#environment.now() - this.#heardAt
    if (quiet < ASK_AFTER) return this.#setTimer(() => this.#listen(), ASK_AFTER - quiet)
    this.#say({ action: 'subscribe' })
    this.#setTimer(() => this.#overdue(), ASK_AFTER + GRACE - quiet + 1)
  }

  #overdue(): void {
    const quiet = this.#environment.now() - this.#heardAt
    if (!isSilent(quiet, ASK_AFTER)) return this.#listen()
    if (quiet >= LOST_AFTER) return this.#lost(0, SILENT)
    this.#error = SILENT
    this.#setTimer(() => this.#overdue(), LOST_AFTER - quiet)
    this.#become('silent')
  }

  /** A silent gateway has sent a message again. */
  #spoke(): void {
    this.#error = this.#limitError
    this.#listen()
    this.#become('connected')
    this.#tellSoon()
  }

  // Requests and messages.

  #heard(data: unknown): void {
    this.#heardAt = this.#environment.now()
    if (this.#state === 'silent') this.#spoke()
    const message = parseMessage(data)
    if (!message) return this.#emit('unread', data)
    // Not earlier: a gateway that accepts and closes at once has not recovered.
    this.#attempts = 0
    if (message.type === 'subscribed' || message.type === 'unsubscribed') {
      this.#confirmed = { ...message, books: message.books }
      this.#answered()
    } else if (message.type === 'error' && this.#isKnownRefusal(message)) {
      return
    }
    this.#emit(message.type, message as never)
  }

  /** Records a rejection. Returns whether it needs no event: reported before, or no longer wanted. */
  #isKnownRefusal({ message }: ErrorMessage): boolean {
    const limits = { ...this.#limits, ...limitIn(message) }
    // The request was within the limit that the error names, so the reason is unknown: the same request would be rejected again.
    const limit = limitIn(message) !== undefined && !fitting(this.#asked, limits).isAll
    const isOver = limit && fitting(this.#wish(), limits).isAll
    const isKnown = isOver || this.#limitError === message
    if (limit && !isOver) {
      this.#limits = limits
      this.#limitError = message
    }
    if (!isOver) this.#error = message
    if (message.startsWith(TOO_MANY_MESSAGES)) this.#refusal = 'rate'
    else if (this.#refusal !== 'rate') this.#refusal = limit ? 'limit' : 'unknown'
    // It is unknown whether the options of a rejected request apply: the next request repeats them.
    const rejected = this.#unanswered[0]
    const repeated = OPTIONS.filter((option) => rejected?.[option] !== undefined)
    const unknown = Object.fromEntries(repeated.map((option) => [option, undefined]))
    this.#requested.feed = { ...this.#requested.feed, ...unknown }
    this.#answered()
    return isKnown
  }

  /** Each request has one reply, in order. After the last one, the subscription in the reply counts. */
  #answered(): void {
    this.#unanswered.shift()
    if (this.#unanswered.length > 0) return
    this.#requested.symbols = new Set(this.#confirmed.symbols)
    this.#requested.exchanges = new Set(this.#confirmed.exchanges)
    // The gateway may send fewer levels than requested. They are not requested again.
    const asked = this.#requested.books
    this.#requested.books = new Map((this.#confirmed.books ?? []).map((book) => [bookKey(book), asked.get(bookKey(book)) ?? book]))
    const refusal = this.#refusal
    this.#refusal = undefined
    if (refusal === 'unknown') this.#leaveOut()
    else if (refusal || this.#hasMore) this.#tellSoon(refusal === 'rate' ? REQUESTS_REST : 0)
  }

  /** The same request would be rejected again, and ten rejections close the connection. */
  #leaveOut(): void {
    const { symbols, exchanges, books } = this.#wish()
    const refused = this.#refused
    without(symbols, this.#requested.symbols).forEach((name) => refused.symbols.add(name))
    without(exchanges, this.#requested.exchanges).forEach((name) => refused.exchanges.add(name))
    withoutBooks(books, this.#requested.books.values()).forEach((book) => refused.books.add(bookKey(book)))
  }

  /** Changes of holders in the same task become one request. */
  #tellSoon(rest = 0): void {
    if (this.#state !== 'connected' || (this.#requesting && rest === 0)) return
    const { now, setTimeout, clearTimeout } = this.#environment
    clearTimeout(this.#requesting)
    const wait = Math.max(0, rest, this.#requestedAt + REQUESTS_APART - now())
    this.#requesting = setTimeout(() => this.#request(), wait)
  }

  /** Requests the differences. Unsubscribes first, so that limits apply to the remainder. */
  #request(): void {
    this.#requesting = undefined
    this.#requestedAt = this.#environment.now()
    this.#asked = this.#wish()
    const { symbols, exchanges, books, feed } = this.#requested
    const wanted = this.#admitted()
    const deeper = wanted.books.filter((book) => books.get(bookKey(book))?.levels !== book.levels)
    const requests = [
      ...frames(without(symbols, wanted.symbols), without(exchanges, wanted.exchanges), 'unsubscribe'),
      ...inParts(withoutBooks(books.values(), wanted.books)).map((part): ClientMessage => ({
        action: 'unsubscribe',
        books: part.map(nameOf),
      })),
      ...withOptions(frames(without(wanted.symbols, symbols), without(wanted.exchanges, exchanges), 'subscribe'), feed, this.feed),
      ...[...new Set(deeper.map(({ levels }) => levels))].flatMap((levels) =>
        inParts(deeper.filter((book) => book.levels === levels)).map((part): ClientMessage => ({
          action: 'subscribe',
          books: part.map(nameOf),
          levels,
        })),
      ),
    ]
    const room = Math.max(0, UNANSWERED_MAX - this.#unanswered.length)
    this.#hasMore = requests.length > room
    requests.slice(0, room).forEach((request) => this.#say(request))
  }

  /** A request is assumed to be accepted until the last reply has arrived. */
  #say(message: ClientMessage): void {
    this.#unanswered.push(message)
    const { symbols, exchanges, books } = this.#requested
    const change = message.action === 'subscribe' ? 'add' : 'delete'
    message.symbols?.forEach((name) => symbols[change](name))
    message.exchanges?.forEach((name) => exchanges[change](name))
    message.books?.forEach((book) => {
      if (change === 'add') books.set(bookKey(book), { ...book, levels: message.levels ?? LEVELS })
      else books.delete(bookKey(book))
    })
    const { intervalMs, extended, opportunities, minProof } = { ...this.#requested.feed, ...message }
    this.#requested.feed = { intervalMs, extended, opportunities, minProof }
    this.#socket?.send(JSON.stringify(message))
  }
}

const nothingRefused = () => ({ symbols: new Set<string>(), exchanges: new Set<string>(), books: new Set<string>() })
const nothingRequested = () => ({
  symbols: new Set<string>(),
  exchanges: new Set<string>(),
  feed: PLAIN as FeedRequested,
  books: new Map<string, BookAsked>(),
})

/** Key of a symbol on an exchange. */
export const bookKey = ({ symbol, exchange }: { symbol: string; exchange: string }): string => JSON.stringify([symbol, exchange])

function inParts<T>(items: T[]): T[][] {
  const parts: T[][] = []
  for (let at = 0; at < items.length; at += NAMES_PER_FRAME) parts.push(items.slice(at, at + NAMES_PER_FRAME))
  return parts
}

/** Requests for names, divided into frames. */
function frames(symbols: string[], exchanges: string[], action: ClientMessage['action']): ClientMessage[] {
  const parts: ClientMessage[] = []
  for (let at = 0; at < Math.max(symbols.length, exchanges.length); at += NAMES_PER_FRAME) {
    const end = at + NAMES_PER_FRAME
    parts.push({ action, symbols: symbols.slice(at, end), exchanges: exchanges.slice(at, end) })
  }
  return parts
}

/** Adds the changed options to the first of `requests`, or to a new request. */
function withOptions(requests: ClientMessage[], requested: FeedRequested, wanted: Feed): ClientMessage[] {
  const options: Partial<Feed> = {}
  if (wanted.intervalMs !== requested.intervalMs) options.intervalMs = wanted.intervalMs
  if (wanted.extended !== requested.extended) options.extended = wanted.extended
  if (wanted.opportunities !== requested.opportunities) options.opportunities = wanted.opportunities
  if (wanted.minProof !== requested.minProof) options.minProof = wanted.minProof
  if (Object.keys(options).length === 0) return requests
  const [first = { action: 'subscribe', symbols: [], exchanges: [] }, ...others] = requests
  return [{ ...first, ...options }, ...others]
}

function without(names: Iterable<string>, known: Iterable<string>): string[] {
  const others = new Set(known)
  return [...names].filter((name) => !others.has(name))
}

function withoutBooks(books: Iterable<BookAsked>, known: Iterable<BookAsked>): BookAsked[] {
  const others = new Set([...known].map(bookKey))
  return [...books].filter((book) => !others.has(bookKey(book)))
}

const nameOf = ({ levels: _, ...name }: BookAsked) => name
