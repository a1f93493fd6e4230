// What the client makes of the messages: the plain values that programs and hooks work with.

import type { ArbitrageMessage, BookMessage, BookName, OpportunityMessage, PriceMessage } from './messages.js'

/**
 * Whether a price is still one. `fresh`: the gateway vouches for it. `stale`: it stopped to, or the connection is
 * lost; the numbers are the last known. `gone`: that was long ago.
 */
export type Freshness = 'fresh' | 'stale' | 'gone'

/** The last known price of a symbol on an exchange. Never changed in place: a new price is a new object. */
export interface LivePrice extends Omit<PriceMessage, 'type'> {
  /** (bid + ask) / 2. */
  midPrice: number
  freshness: Freshness
}

/** A spread above the gateway's threshold at one moment. */
export interface ArbitrageAlert extends Omit<ArbitrageMessage, 'type'> {}

/** How the connection is, as one value. */
export interface ConnectionStatus {
  state: ConnectionState
  /** Whether `state` is `connected`: the gateway is there and speaks. */
  isConnected: boolean
  /** The last thing that the gateway found wrong, or why there is no connection. */
  error: string | null
  /** Attempts since the connection was lost. */
  attempts: number
}

/** An opportunity while it lives, and after: `change` is `closed` then. */
export interface Opportunity extends Omit<OpportunityMessage, 'type'> {}

/** An order book as the gateway last told it. Never changed in place: another state is a new object. */
export interface OrderBook extends Omit<BookMessage, 'type'> {}

/** An order book that somebody wants. */
export interface BookWish extends BookName {
  /** Levels a side, default 10. Whoever shares the page's connection gets the most that one asks for. */
  levels?: number | undefined
}

/**
 * `idle`: nobody wants anything, or `disconnect()`. `connecting`, `connected`. `silent`: open, but the gateway has not
 * answered for five seconds, and nothing that it said counts as current. `waiting`: lost, trying again by itself soon.
 * `failed`: gave up after `maxReconnectAttempts`.
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'silent' | 'waiting' | 'failed'

/** What is asked of the gateway besides names; several holders of one connection get the most that one asks for. */
export interface FeedOptions {
  /** Milliseconds between bursts of prices, 10 to 60000 (default 500). 0: every change at once. */
  intervalMs?: number | undefined
  /** Sizes, source, state and age with each price. Default false. */
  extended?: boolean | undefined
  /** The life of opportunities besides alerts. Default false. */
  opportunities?: boolean | undefined
}
