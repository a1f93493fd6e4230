// The values that the client derives from the messages, for programs and hooks.

import type { ArbitrageMessage, BookMessage, BookName, MinProof, OpportunityMessage, PriceMessage } from './messages.js'

/**
 * Freshness of a price. `fresh`: the gateway confirms it. `stale`: the gateway no longer does, or the connection is lost; the
 * numbers are the last known. `gone`: stale for a long time.
 */
export type Freshness = 'fresh' | 'stale' | 'gone'

/** The last known price of a symbol on an exchange. Immutable: a new price is a new object. */
export interface LivePrice extends Omit<PriceMessage, 'type'> {
  /** (bid + ask) / 2. */
  midPrice: number
  freshness: Freshness
}

/** A spread above the gateway's threshold at one moment. */
export interface ArbitrageAlert extends Omit<ArbitrageMessage, 'type'> {}

/** The status of the connection, as one value. */
export interface ConnectionStatus {
  state: ConnectionState
  /** Whether `state` is `connected`: the connection is open, and the gateway answers. */
  isConnected: boolean
  /** The last error of the gateway, or why there is no connection. */
  error: string | null
  /** Attempts since the connection was lost. */
  attempts: number
}

/** An opportunity, open or closed. */
export interface Opportunity extends Omit<OpportunityMessage, 'type'> {}

/** The last state of an order book. Immutable: another state is a new object. */
export interface OrderBook extends Omit<BookMessage, 'type'> {}

/** A wanted order book. */
export interface BookWish extends BookName {
  /** Levels per side, default 10. All holders of a connection get the largest number that any of them wants. */
  levels?: number | undefined
}

/**
 * `idle`: no holders, or after `disconnect()`. `connecting`, `connected`. `silent`: open, but the gateway has not answered for
 * five seconds, and its data is not current. `waiting`: lost; the next attempt follows automatically. `failed`: gave up after
 * `maxReconnectAttempts`.
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'silent' | 'waiting' | 'failed'

/** Options of a subscription. All holders of a connection get the most demanding value of each. */
export interface FeedOptions {
  /** Milliseconds between bursts of prices, 10 to 60000 (default 500). 0: every change at once. */
  intervalMs?: number | undefined
  /** Adds sizes, source, state and age to each price. Default false. */
  extended?: boolean | undefined
  /** Sends opened, updated and closed opportunities in addition to alerts. Default false. */
  opportunities?: boolean | undefined
  /**
   * Only alerts and opportunities with this proof or a stronger one; each comes when it has the proof. Default `none`. All holders of
   * a connection get the weakest, so holders that ask for different proof need different connections, see `sharedAt`.
   */
  minProof?: MinProof | undefined
}
