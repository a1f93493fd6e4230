// The state that a page shows, built from the messages of a connection: the last price of each pair with its freshness, alerts and
// opportunities. Changes are published together once per animation frame. Between two frames all values are the same objects.
// Memory is bounded by the subscription.

import { bookKey, type Connection } from './connection.js'
import { environment, type Environment } from './environment.js'
import type { ArbitrageMessage, BookMessage, OpportunityMessage, PriceMessage } from './messages.js'
import { Pacer } from './pacer.js'
import type { ArbitrageAlert, ConnectionStatus, Freshness, LivePrice, Opportunity, OrderBook } from './types.js'

/** Beats without a price after which it is stale, plus some time for the network. */
const BEATS = 2
const ON_THE_WAY = 500
/** Limit for every beat, in milliseconds: longer than the gateway's own limit of a quote's age. */
const QUIET_MAX = 32_000
/** Milliseconds without a price after which the last one is removed. */
const GONE = 30_000
/** Milliseconds between two checks of freshness. */
const SWEEP = 250
/** How long an alert counts as current, in milliseconds. The gateway repeats the alert of an open route once a minute. */
const ALERT_LASTS = 90_000
/** Most alerts of a symbol, and most closed opportunities. */
export const HISTORY_MAX = 100

const NONE: readonly never[] = []

interface Cell {
  message: PriceMessage
  /** When the gateway last confirmed the price, on this machine's clock. */
  heardAt: number
  live: LivePrice | undefined
}

/** The alerts of a symbol. */
interface Lane {
  /** Received since the last frame, newest first. */
  incoming: ArbitrageAlert[]
  /** The latest alert of each route that is still current. */
  routes: Map<string, { alert: ArbitrageAlert; heardAt: number }>
  isTouched: boolean
  /** As published; newest first. */
  alerts: readonly ArbitrageAlert[]
  lasting: readonly ArbitrageAlert[]
}

const route = (leg: { buyExchange: string; sellExchange: string }) => JSON.stringify([leg.buyExchange, leg.sellExchange])

/** States of a price that the gateway continues to send. The other states end a price. */
const HEARD: ReadonlySet<string | undefined> = new Set([undefined, 'fresh', 'cached', 'halted'])

/** `limit` is how long a price is fresh without a message, negative if no message can come. */
function freshnessOf({ state = 'fresh' }: PriceMessage, age: number, limit: number): Freshness {
  if (state === 'fresh' && age <= limit) return 'fresh'
  return age < GONE ? 'stale' : 'gone'
}

/** See the head of this file. Hooks select from it. Programs without React can use it directly. */
export class Board {
  #connection: Connection
  #environment: Environment
  #pacer: Pacer
  #listeners = new Set<() => void>()
  #sweeping: unknown

  #cells = new Map<string, Map<string, Cell>>()
  #touched = new Set<Cell>()
  #lanes = new Map<string, Lane>()
  #opportunities = new Map<string, Opportunity>()
  /** Received since the last frame, last received, and published. */
  #incoming = new Map<string, OrderBook>()
  #received = new Map<string, OrderBook>()
  #books = new Map<string, OrderBook>()
  /** Whether the connection was live when the last frame was published. */
  #wasConnected = false
  #closing: Opportunity[] = []
  #isOpportunityNew = false
  #isInterestNew = false

  #status: ConnectionStatus = { state: 'idle', isConnected: false, error: null, attempts: 0 }
  #open: readonly Opportunity[] = NONE
  #closed: readonly Opportunity[] = NONE

  constructor(connection: Connection, own: Partial<Environment> = {}) {
    this.#connection = connection
    this.#environment = environment(own)
    this.#pacer = new Pacer(this.#environment, () => this.#publish())
    const soon = () => this.#pacer.request()
    connection.on('price', (message) => this.#price(message))
    connection.on('arbitrage', (message) => this.#alert(message))
    connection.on('opportunity', (message) => this.#opportunity(message))
    connection.on('book', (message) => this.#book(message))
    connection.on('state', soon)
    connection.on('error', soon)
    connection.on('interest', () => {
      this.#isInterestNew = true
      soon()
    })
  }

  /** Calls `listener` after each frame with a change. Returns the function that unsubscribes. */
  subscribe(listener: () => void): () => void {
    const own = () => listener()
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  get status(): ConnectionStatus {
    return this.#status
  }

  price(symbol: string, exchange: string): LivePrice | undefined {
    return this.#cells.get(symbol)?.get(exchange)?.live
  }

  /** The last state that the gateway sent, `stale` while it is silent; `undefined` before, and while there is no connection. */
  book(symbol: string, exchange: string): OrderBook | undefined {
    return this.#books.get(bookKey({ symbol, exchange }))
  }

  /** Newest first, at most {@link HISTORY_MAX}. */
  alerts(symbol: string): readonly ArbitrageAlert[] {
    return this.#lanes.get(symbol)?.alerts ?? NONE
  }

  /** The latest alert of each route in the last 90 seconds of this connection, unless its opportunity closed. */
  lasting(symbol: string): readonly ArbitrageAlert[] {
    return this.#lanes.get(symbol)?.lasting ?? NONE
  }

  /** Open opportunities, largest spread first; empty while there is no connection or the gateway is silent. */
  get open(): readonly Opportunity[] {
    return this.#open
  }

  /** Newest first, at most {@link HISTORY_MAX}. */
  get closed(): readonly Opportunity[] {
    return this.#closed
  }

  #price(message: PriceMessage): void {
    const { symbol, exchange } = message
    // A message that was in flight during an unsubscribe, or that no holder wants.
    if (!this.#connection.wants(symbol, exchange)) return
    let row = this.#cells.get(symbol)
    if (!row) this.#cells.set(symbol, (row = new Map()))
    const cell = row.get(exchange)
    const heardAt = this.#environment.now()
    if (!cell) {
      const fresh = { message, heardAt, live: undefined }
      row.set(exchange, fresh)
      this.#touched.add(fresh)
    } else {
      cell.message = message
      if (HEARD.has(message.state)) cell.heardAt = heardAt
      this.#touched.add(cell)
    }
    this.#pacer.request()
  }

  #alert({ type: _, ...alert }: ArbitrageMessage): void {
    if (!this.#connection.wants(alert.symbol)) return
    let lane = this.#lanes.get(alert.symbol)
    if (!lane) {
      lane = { incoming: [], routes: new Map(), isTouched: false, alerts: NONE, lasting: NONE }
      this.#lanes.set(alert.symbol, lane)
    }
    lane.incoming = [alert, ...lane.incoming.slice(0, HISTORY_MAX - 1)]
    lane.routes.set(route(alert), { alert, heardAt: this.#environment.now() })
    lane.isTouched = true
    this.#pacer.request()
  }

  #opportunity({ type: _, ...opportunity }: OpportunityMessage): void {
    const { id, symbol, change } = opportunity
    if (!this.#connection.wants(symbol)) return
    if (change !== 'closed') {
      this.#opportunities.set(id, opportunity)
    } else {
      this.#opportunities.delete(id)
      this.#closing = [opportunity, ...this.#closing.slice(0, HISTORY_MAX - 1)]
      const lane = this.#lanes.get(symbol)
      if (lane?.routes.delete(route(opportunity))) lane.isTouched = true
    }
    this.#isOpportunityNew = true
    this.#pacer.request()
  }

  #book({ type: _, ...book }: BookMessage): void {
    if (!this.#connection.wantsBook(book.symbol, book.exchange)) return
    this.#incoming.set(bookKey(book), book)
    this.#pacer.request()
  }

  /** Publishes all changes since the last frame, and notifies listeners if there are any. */
  #publish(): void {
    const { state, error, attempts } = this.#connection
    const isConnected = state === 'connected'
    // A silent gateway may continue on the same connection.
    const isOpen = isConnected || state === 'silent'
    const was = this.#status
    let isChanged = was.state !== state || was.error !== error || was.attempts !== attempts
    if (isChanged) this.#status = { state, isConnected, error, attempts }
    if (this.#isInterestNew) isChanged = this.#prune() || isChanged
    isChanged = this.#publishPrices(isConnected) || isChanged
    isChanged = this.#publishAlerts(isOpen, isConnected) || isChanged
    isChanged = this.#publishOpportunities(isOpen, isConnected) || isChanged
    isChanged = this.#publishBooks(isOpen, isConnected) || isChanged
    this.#wasConnected = isConnected
    this.#sweepLater()
    if (isChanged) [...this.#listeners].forEach((listener) => listener())
  }

  #publishPrices(isConnected: boolean): boolean {
    const now = this.#environment.now()
    const { intervalMs } = this.#connection.feed
    const beats = intervalMs === 0 ? QUIET_MAX : Math.min(QUIET_MAX, BEATS * intervalMs + ON_THE_WAY)
    const limit = isConnected ? beats : -1
    let isChanged = false
    for (const row of this.#cells.values()) {
      for (const cell of row.values()) {
        const freshness = freshnessOf(cell.message, now - cell.heardAt, limit)
        if (!this.#touched.has(cell) && cell.live?.freshness === freshness) continue
        const { type: _, ...price } = cell.message
        cell.live = { ...price, midPrice: (price.bid + price.ask) / 2, freshness }
        isChanged = true
      }
    }
    this.#touched.clear()
    return isChanged
  }

  #publishAlerts(isOpen: boolean, isConnected: boolean): boolean {
    const now = this.#environment.now()
    let isChanged = false
    for (const lane of this.#lanes.values()) {
      for (const [key, { heardAt }] of lane.routes) {
        // Without a connection it is unknown what is still open. The gateway sends it again.
        if (!isOpen || now - heardAt > ALERT_LASTS) lane.isTouched = lane.routes.delete(key)
      }
      if (!lane.isTouched && isConnected === this.#wasConnected) continue
      lane.isTouched = false
      if (lane.incoming.length > 0) lane.alerts = [...lane.incoming.splice(0), ...lane.alerts].slice(0, HISTORY_MAX)
      lane.lasting = isConnected ? [...lane.routes.values()].map(({ alert }) => alert) : NONE
      isChanged = true
    }
    return isChanged
  }

  #publishOpportunities(isOpen: boolean, isConnected: boolean): boolean {
    if (!isOpen && this.#opportunities.size > 0) {
      this.#opportunities.clear()
      this.#isOpportunityNew = true
    }
    if (!this.#isOpportunityNew && isConnected === this.#wasConnected) return false
    this.#isOpportunityNew = false
    this.#open = isConnected ? [...this.#opportunities.values()].sort((a, b) => b.spreadPct - a.spreadPct) : NONE
    this.#closed = [...this.#closing.splice(0), ...this.#closed].slice(0, HISTORY_MAX)
    return true
  }

  #publishBooks(isOpen: boolean, isConnected: boolean): boolean {
    // Without a connection, no notice would come that a book is void.
    if (!isOpen) [this.#incoming, this.#received].forEach((books) => books.clear())
    const isTurned = isConnected !== this.#wasConnected
    const isChanged = this.#incoming.size > 0 || (isTurned && this.#books.size > 0)
    for (const [key, book] of this.#incoming) this.#received.set(key, book)
    if (!isOpen) this.#books.clear()
    for (const [key, book] of isTurned ? this.#received : this.#incoming) {
      this.#books.set(key, !isConnected && book.state === 'live' ? { ...book, state: 'stale' } : book)
    }
    this.#incoming.clear()
    return isChanged
  }

  /** Removes what no holder wants. */
  #prune(): boolean {
    this.#isInterestNew = false
    const connection = this.#connection
    let isChanged = false
    for (const [symbol, row] of this.#cells) {
      for (const exchange of row.keys()) {
        if (!connection.wants(symbol, exchange)) isChanged = row.delete(exchange)
      }
      if (row.size === 0) this.#cells.delete(symbol)
    }
    for (const symbol of this.#lanes.keys()) {
      if (!connection.wants(symbol)) isChanged = this.#lanes.delete(symbol)
    }
    for (const books of [this.#incoming, this.#received, this.#books]) {
      for (const [key, { symbol, exchange }] of books) {
        if (!connection.wantsBook(symbol, exchange)) isChanged = books.delete(key)
      }
    }
    const isTold = connection.feed.opportunities
    for (const [id, { symbol }] of this.#opportunities) {
      if (!isTold || !connection.wants(symbol)) this.#isOpportunityNew = this.#opportunities.delete(id)
    }
    if (!isTold && this.#closed.length > 0) {
      this.#closed = NONE
      this.#isOpportunityNew = true
    }
    return isChanged
  }

  /** Checks freshness by a timer while there are prices that can become stale. */
  #sweepLater(): void {
    const { setTimeout, clearTimeout } = this.#environment
    clearTimeout(this.#sweeping)
    this.#sweeping = undefined
    if (this.#cells.size === 0 && this.#lanes.size === 0) return
    this.#sweeping = setTimeout(() => this.#publish(), SWEEP)
  }
}
