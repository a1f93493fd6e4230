// One connection to `/ws/prices`, for everybody on the page. Holders say what they want; the connection asks the
// gateway for the union and only ever tells it the difference. It is open while somebody holds it, comes back by
// itself, and asks anew for everything after that. Timers and the socket come from the environment.

import { WAIT_MAX, backoff } from './backoff.js'
import { CountedNames } from './counted.js'
import { environment, type Environment, type SocketLike } from './environment.js'
import { NO_LIMITS, fitting, limitIn, utf8Length, type Wish } from './limits.js'
import { parseMessage, type BookAsked, type ClientMessage, type ErrorMessage, type ServerMessage } from './messages.js'
import { ASK_AFTER, GRACE, isSilent } from './silence.js'
import type { BookWish, ConnectionState, FeedOptions } from './types.js'

/** What one holder wants. Prices come for every symbol on every exchange, of all holders together. */
export interface Interest extends FeedOptions {
  symbols?: readonly string[] | undefined
  /** Empty: alerts only. */
  exchanges?: readonly string[] | undefined
  /** Order books, each by itself. */
  books?: readonly BookWish[] | undefined
  /** The longest wait between two attempts in milliseconds; the smallest of all holders counts. Default 10000. */
  reconnectInterval?: number | undefined
  /** Attempts before giving up; the most of all holders counts. Default: no end. */
  maxReconnectAttempts?: number | undefined
}

/** A part of the connection's interest, until `end()`. */
export interface Hold {
  end(): void
}

/** What listeners hear: messages by their `type`, and what happens to the connection. */
export type ConnectionEvents = { [M in ServerMessage as M['type']]: M } & {
  state: ConnectionState
  /** The union of all interests is another one. */
  interest: void
  /** A frame that is no message, or of a kind that only a later gateway knows. */
  unread: unknown
}

/** A socket closes this long after the last holder left, since the next one often comes at once. */
const LINGER = 200
/** How long opening may take. */
const OPEN_WITHIN = 10_000
/** A gateway that says nothing for this long is given up, and the connection opened anew. */
const LOST_AFTER = 15_000
/** Requests are at least this far apart: the gateway takes 20 messages a second, and a request is two or more. */
const REQUESTS_APART = 150
/** After `Too many messages` requests rest this long. */
const REQUESTS_REST = 1000
/** Names of each kind in one frame: 2 × 64 × 64 bytes, all escaped, stay below the 64 KiB that the gateway takes. */
const NAMES_PER_FRAME = 64
/** Requests without an answer at most. What is above a limit is refused frame by frame, and ten refusals in ten seconds end the connection. */
const UNANSWERED_MAX = 4
/** The gateway's limit for one name in bytes of UTF-8. */
const NAME_MAX = 64

/** As deep as the gateway's own default. */
const LEVELS = 10

const TOO_MANY_MESSAGES = 'Too many messages'
const SILENT = 'The gateway does not answer'

const PLAIN = { intervalMs: 500, extended: false, opportunities: false }
type Feed = typeof PLAIN

/** See the head of this file. Most programs take the page's own by {@link shared}. */
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
  /** The one of opening, waiting, silence that the state has. */
  #timer: unknown
  #lingering: unknown
  #heardAt = 0

  /** What the gateway holds, as far as it was told. */
  #told = nothingTold()
  /** What it last said that it holds. */
  #confirmed = { symbols: [] as string[], exchanges: [] as string[], books: [] as BookAsked[] | undefined }
  /** Requests without an answer yet, oldest first. */
  #unanswered: ClientMessage[] = []
  /** What the gateway refused one of them for. */
  #refusal: 'rate' | 'limit' | 'unknown' | undefined
  /** Limits that the gateway named when it refused a request; they are kept until all that is wanted fits. */
  #limits = NO_LIMITS
  /** What it refused for another reason; forgotten when the wish shrinks. */
  #refused = nothingRefused()
  /** The gateway's word for the limit that is met now. */
  #limitError: string | null = null
  #wishSize = 0
  /** What was wanted when the gateway was last told. */
  #asked: Wish = { symbols: [], exchanges: [], books: [] }
  /** More has to be told than {@link UNANSWERED_MAX} allows at once. */
  #hasMore = false
  #telling: unknown
  #toldAt = -Infinity

  constructor(url: string, own: Partial<Environment> = {}) {
    this.url = url
    this.#environment = environment(own)
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** The last thing that the gateway found wrong, or why there is no connection; `null` once it is open again. */
  get error(): string | null {
    return this.#error
  }

  /** Attempts since the connection was lost. */
  get attempts(): number {
    return this.#attempts
  }

  /** What all holders together ask for. */
  get feed(): Readonly<Feed> {
    const feed = { ...PLAIN }
    let interval = Infinity
    for (const { intervalMs, extended, opportunities, symbols, books } of this.#holds) {
      // Who wants books alone has no pace of prices.
      if (intervalMs !== undefined || symbols?.length || !books?.length) interval = Math.min(interval, intervalMs ?? PLAIN.intervalMs)
      feed.extended ||= extended === true
      feed.opportunities ||= opportunities === true
    }
    feed.intervalMs = interval === Infinity ? PLAIN.intervalMs : interval
    // Without a beat only the gateway can say that a price is none any more.
    feed.extended ||= feed.intervalMs === 0
    return feed
  }

  /** Whether somebody wants this symbol, on this exchange if one is named. */
  wants(symbol: string, exchange?: string): boolean {
    return this.#symbols.has(symbol) && (exchange === undefined || this.#exchanges.has(exchange))
  }

  /** Whether somebody wants the order book of this symbol on this exchange. */
  wantsBook(symbol: string, exchange: string): boolean {
    return this.#books.has(bookKey({ symbol, exchange }))
  }

  /** Opens the connection if need be. Names that the gateway would refuse (empty, above 64 bytes) are left out. */
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

  /** Undoes `disconnect()`, and tries at once where it would wait or has given up. */
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

  /** Calls `listener` for each event of this kind; the result ends that. */
  on<K extends keyof ConnectionEvents>(kind: K, listener: (event: ConnectionEvents[K]) => void): () => void {
    let listeners = this.#listeners.get(kind)
    if (!listeners) this.#listeners.set(kind, (listeners = new Set()))
    // Each call has its own place, even for the same function.
    const own = (event: ConnectionEvents[K]) => listener(event)
    listeners.add(own)
    return () => void listeners.delete(own)
  }

  #emit<K extends keyof ConnectionEvents>(kind: K, event: ConnectionEvents[K]): void {
    this.#listeners.get(kind)?.forEach((listener) => {
      try {
        listener(event)
      } catch (error) {
        // A listener's mistake is told as the platform tells mistakes, and stays its own.
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

  /** Order books of all holders, each as deep as the one who wants most. */
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

  // Opening, closing, coming back.

  #interestChanged(): void {
    const { setTimeout, clearTimeout } = this.#environment
    this.#books = this.#gatherBooks()
    clearTimeout(this.#lingering)
    if (this.#holds.size === 0) this.#lingering = setTimeout(() => this.#close(), LINGER)
    // Whoever comes after it gave up wants it anew.
    else if ((this.#state === 'idle' || this.#state === 'failed') && !this.#isStopped) this.#start()
    this.#wishChanged()
    this.#tellSoon()
    this.#emit('interest', undefined)
  }

  /** A wish that shrinks may fit: what was refused is asked for again. */
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

  /** What is asked of the gateway: everything that is wanted, less what it refused. */
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
    // Handlers of a socket that was let go are taken off, so none can speak for its successor.
    socket.onopen = () => this.#opened()
    socket.onmessage = (event) => this.#heard(event.data)
    socket.onclose = (event) => this.#lost(event.code ?? 0, 'Connection lost')
    socket.onerror = () => {}
    this.#become('connecting')
  }

  #opened(): void {
    this.#told = nothingTold()
    this.#confirmed = { symbols: [], exchanges: [], books: [] }
    this.#unanswered = []
    this.#refusal = undefined
    this.#toldAt = -Infinity
    this.#error = this.#limitError
    this.#heardAt = this.#environment.now()
    this.#listen()
    this.#become('connected')
    this.#tell()
  }

  /** The socket is no more, or not worth keeping. */
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
    this.#environment.clearTimeout(this.#telling)
    this.#telling = undefined
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    try {
      socket.close()
    } catch {
      // It is let go either way.
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

  /** Asks after silence, says so when there is no answer, and gives the connection up at last: a dead peer sends no close. */
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

  /** A gateway that was silent speaks again. */
  #spoke(): void {
    this.#error = this.#limitError
    this.#listen()
    this.#become('connected')
    this.#tellSoon()
  }

  // What is said and heard.

  #heard(data: unknown): void {
    this.#heardAt = this.#environment.now()
    if (this.#state === 'silent') this.#spoke()
    const message = parseMessage(data)
    if (!message) return this.#emit('unread', data)
    // Only now: a gateway that opens and closes again is not back.
    this.#attempts = 0
    if (message.type === 'subscribed' || message.type === 'unsubscribed') {
      this.#confirmed = { ...message, books: message.books }
      this.#answered()
    } else if (message.type === 'error' && this.#isKnownRefusal(message)) {
      return
    }
    this.#emit(message.type, message as never)
  }

  /** Takes note of what the gateway refuses; whether that is no news: told before, or no longer wanted. */
  #isKnownRefusal({ message }: ErrorMessage): boolean {
    const limits = { ...this.#limits, ...limitIn(message) }
    // A limit within which all of it was is no reason that is understood here: asking again would be refused again.
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
    this.#answered()
    return isKnown
  }

  /** Each request has one answer, in order. After the last one the gateway's own word counts. */
  #answered(): void {
    this.#unanswered.shift()
    if (this.#unanswered.length > 0) return
    this.#told.symbols = new Set(this.#confirmed.symbols)
    this.#told.exchanges = new Set(this.#confirmed.exchanges)
    // It may give fewer levels than were asked for; that is no reason to ask again.
    const asked = this.#told.books
    this.#told.books = new Map((this.#confirmed.books ?? []).map((book) => [bookKey(book), asked.get(bookKey(book)) ?? book]))
    // Whether the options of a refused request count is unknown: they are told again with the next.
    const refusal = this.#refusal
    if (refusal) this.#told.feed = { ...this.#told.feed, intervalMs: NaN }
    this.#refusal = undefined
    if (refusal === 'unknown') this.#leaveOut()
    else if (refusal || this.#hasMore) this.#tellSoon(refusal === 'rate' ? REQUESTS_REST : 0)
  }

  /** Asking again would be refused again, and ten refusals end the connection. */
  #leaveOut(): void {
    const { symbols, exchanges, books } = this.#wish()
    const refused = this.#refused
    without(symbols, this.#told.symbols).forEach((name) => refused.symbols.add(name))
    without(exchanges, this.#told.exchanges).forEach((name) => refused.exchanges.add(name))
    withoutBooks(books, this.#told.books.values()).forEach((book) => refused.books.add(bookKey(book)))
  }

  /** All that holders change in one go is one request. */
  #tellSoon(rest = 0): void {
    if (this.#state !== 'connected' || (this.#telling && rest === 0)) return
    const { now, setTimeout, clearTimeout } = this.#environment
    clearTimeout(this.#telling)
    const wait = Math.max(0, rest, this.#toldAt + REQUESTS_APART - now())
    this.#telling = setTimeout(() => this.#tell(), wait)
  }

  /** Tells the gateway what differs. What is too much goes first, so that limits are met by what remains. */
  #tell(): void {
    this.#telling = undefined
    this.#toldAt = this.#environment.now()
    this.#asked = this.#wish()
    const { symbols, exchanges, books, feed } = this.#told
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

  /** What is said is taken for granted until the last answer is there. */
  #say(message: ClientMessage): void {
    this.#unanswered.push(message)
    const { symbols, exchanges, books } = this.#told
    const change = message.action === 'subscribe' ? 'add' : 'delete'
    message.symbols?.forEach((name) => symbols[change](name))
    message.exchanges?.forEach((name) => exchanges[change](name))
    message.books?.forEach((book) => {
      if (change === 'add') books.set(bookKey(book), { ...book, levels: message.levels ?? LEVELS })
      else books.delete(bookKey(book))
    })
    const { intervalMs, extended, opportunities } = { ...this.#told.feed, ...message }
    this.#told.feed = { intervalMs, extended, opportunities }
    this.#socket?.send(JSON.stringify(message))
  }
}

const nothingRefused = () => ({ symbols: new Set<string>(), exchanges: new Set<string>(), books: new Set<string>() })
const nothingTold = () => ({ symbols: new Set<string>(), exchanges: new Set<string>(), feed: PLAIN, books: new Map<string, BookAsked>() })

/** One text for a symbol on an exchange. */
export const bookKey = ({ symbol, exchange }: { symbol: string; exchange: string }): string => JSON.stringify([symbol, exchange])

function inParts<T>(items: T[]): T[][] {
  const parts: T[][] = []
  for (let at = 0; at < items.length; at += NAMES_PER_FRAME) parts.push(items.slice(at, at + NAMES_PER_FRAME))
  return parts
}

/** Requests for names in parts that fit into a frame each. */
function frames(symbols: string[], exchanges: string[], action: ClientMessage['action']): ClientMessage[] {
  const parts: ClientMessage[] = []
  for (let at = 0; at < Math.max(symbols.length, exchanges.length); at += NAMES_PER_FRAME) {
    const end = at + NAMES_PER_FRAME
    parts.push({ action, symbols: symbols.slice(at, end), exchanges: exchanges.slice(at, end) })
  }
  return parts
}

/** The first of `requests`, or one of its own, tells the options that differ. */
function withOptions(requests: ClientMessage[], told: Feed, wanted: Feed): ClientMessage[] {
  const options: Partial<Feed> = {}
  if (wanted.intervalMs !== told.intervalMs) options.intervalMs = wanted.intervalMs
  if (wanted.extended !== told.extended) options.extended = wanted.extended
  if (wanted.opportunities !== told.opportunities) options.opportunities = wanted.opportunities
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
