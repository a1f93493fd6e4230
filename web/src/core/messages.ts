// Every message of the gateway, as a type and as a check of the text from the network. docs/protocol.md describes the messages,
// tests/fixtures/protocol contains an example of each. Text is never interpreted as markup.

/** Origin of the numbers: exchanges, a simulator, or a recording. */
export type Source = 'live' | 'simulated' | 'replay' | (string & {})

/** How a price reached the gateway: from its own feed, from the leader of the cluster, as last known, or not at all. */
export type Level = 'websocket' | 'shared' | 'redis_cache' | 'local_cache' | 'degraded' | (string & {})

/** State of a quote: valid, too old, not yet confirmed, trading halted, or last known from before a restart. */
export type QuoteState = 'fresh' | 'stale' | 'suspect' | 'halted' | 'cached' | (string & {})

/** Best bid and ask of a symbol on an exchange. */
export interface PriceMessage {
  type: 'price'
  /** As subscribed. */
  symbol: string
  /** As subscribed. */
  exchange: string
  /** Best bid in quote currency. */
  bid: number
  /** Best ask in quote currency. */
  ask: number
  /** Unix milliseconds: the exchange's stamp, or when the gateway read the quote. */
  timestamp: number
  /** In base currency. This and the following members: only with `extended`. */
  bidSize?: number
  /** In base currency. */
  askSize?: number
  /** Incremented by each change of the pair. */
  seq?: number
  source?: Source
  state?: QuoteState
  /** Milliseconds since the gateway read the quote. */
  ageMs?: number
  /** The gateway's monotonic clock in nanoseconds, to the precision of a double. */
  receivedNs?: number
  level?: Level
  /** How much later than usual it arrived, in milliseconds; null while unknown. */
  excessLagMs?: number | null
}

/** Whether both legs of an opportunity could have been hit at the same moment. */
export type Proof = 'proven' | 'likely' | 'unproven' | 'refuted' | (string & {})

/** The weakest proof that a client asks for. */
export type MinProof = 'none' | 'likely' | 'proven'

/** A spread above the gateway's threshold. */
export interface ArbitrageMessage {
  type: 'arbitrage'
  symbol: string
  buyExchange: string
  sellExchange: string
  /** Ask of `buyExchange`. */
  buyPrice: number
  /** Bid of `sellExchange`. */
  sellPrice: number
  /** (sell − buy) / buy × 100, before fees. */
  spreadPct: number
  /** For 100 units of base, before fees, in quote currency. */
  profit: number
  /** Unix milliseconds. */
  timestamp: number
  /** After the taker fees of both sides. This and the following members: only with `extended`. */
  netSpreadPct?: number
  /** See `OpportunityMessage`. */
  basisPct?: number
  /** The smaller of both sizes, in base currency. */
  executableSize?: number
  buyAgeMs?: number
  sellAgeMs?: number
  source?: Source
  /** The `id` in its `opportunity` messages. */
  id?: string
  /** See `OpportunityMessage`. */
  group?: string
  groupLeg?: 'buy' | 'sell'
  groupSize?: number
  proof?: Proof
  /** Length of the interval in which both legs are known to have existed; null unless proven. */
  proofMs?: number | null
  /** Error of the exchanges' clocks; null while unknown. */
  proofErrorMs?: number | null
  /** How much later than usual the leg arrived; null while unknown. */
  buyExcessLagMs?: number | null
  sellExcessLagMs?: number | null
  survival?: SurvivalSummary
}

/**
 * How long opportunities of this symbol and pair of exchanges lived: estimates at 1, 5, 20, 100 and 1000 ms after the alert, `null`
 * where one of the exchanges sends changes at a longer interval.
 */
export interface SurvivalSummary {
  /** Number of opportunities from which it is estimated. */
  episodes: number
  /** Whether those of all symbols between the two exchanges are counted, because this one has fewer than 30. */
  pooled: boolean
  /** Share whose net spread was still above 0. */
  alive: readonly (number | null)[]
  /** Median of the net spread as a part of that at the alert. */
  netKept: readonly (number | null)[]
}

/** Why an opportunity closed. Later gateways may add reasons. */
export type CloseReason =
  | 'buy_moved'
  | 'sell_moved'
  | 'both_moved'
  | 'collapsed'
  | 'leg_stale'
  | 'leg_void'
  | 'quarantined'
  | 'standing_basis'
  | 'venue_lost'
  | 'lagging_venue'
  | 'lagging_own'
  | 'not_trading'
  | 'never_coexisted'
  | 'removed'
  | 'shutdown'
  | 'unknown'
  | (string & {})

/** What a closed opportunity was. Later gateways may add classes. */
export type OpportunityClass = 'real' | 'flicker' | 'lagged_view' | 'alien' | 'unclear' | (string & {})

/** An opportunity opened, changed or closed; only with `opportunities`. */
export interface OpportunityMessage {
  type: 'opportunity'
  change: 'opened' | 'updated' | 'closed'
  /** Unchanged from `opened` to `closed`. */
  id: string
  symbol: string
  buyExchange: string
  sellExchange: string
  /** Ask of `buyExchange`. */
  buyPrice: number
  /** Bid of `sellExchange`. */
  sellPrice: number
  /** Before fees. */
  spreadPct: number
  /** After the taker fees of both sides. */
  netSpreadPct: number
  /** The net spread at which this route usually stands, if that is more than half of the threshold. */
  basisPct?: number
  /** The smaller of both sizes, in base currency. */
  executableSize: number
  buyAgeMs: number
  sellAgeMs: number
  /** Unix milliseconds. */
  openedAt: number
  livedMs: number
  /** The largest `spreadPct` so far. */
  peakSpreadPct: number
  /**
   * A jump of one exchange's price opens an opportunity with each other exchange. All of them have the same `group`, the `id` of one
   * of them. Earlier gateways do not send it.
   */
  group?: string
  /** The leg that the group shares. */
  groupLeg?: 'buy' | 'sell'
  /** Open opportunities of the group, after this message. */
  groupSize?: number
  /** Earlier gateways do not send it and the four members that follow. */
  proof?: Proof
  /** Length of the interval in which both legs are known to have existed; null unless proven. */
  proofMs?: number | null
  /** Error of the exchanges' clocks; null while unknown. */
  proofErrorMs?: number | null
  /** How much later than usual the leg arrived; null while unknown. */
  buyExcessLagMs?: number | null
  sellExcessLagMs?: number | null
  /** Why it closed; only with `closed`. */
  reason?: CloseReason
  /** What it was; only with `closed`. Earlier gateways do not send it. */
  class?: OpportunityClass
  /** Absent until an opportunity of the pair of exchanges has ended, and from earlier gateways. */
  survival?: SurvivalSummary
  source: Source
  /** Unix milliseconds. */
  timestamp: number
}

/** Price in quote currency and size in base currency. */
export type BookLevel = [price: number, size: number]

/** What an order book is worth: it holds, it is too old, it is no more, there is none. */
export type BookState = 'live' | 'stale' | 'void' | 'none' | (string & {})

/** An order book at one moment, whole; only for those that are asked for. */
export interface BookMessage {
  type: 'book'
  /** As requested. */
  symbol: string
  /** As requested. */
  exchange: string
  state: BookState
  /** Why it is void, or none. */
  reason?: string
  /** The instance that has it, where this one has not. */
  leader?: string
  /** Best first. Empty unless the state is `live` or `stale`. */
  bids: BookLevel[]
  /** Best first. Empty unless the state is `live` or `stale`. */
  asks: BookLevel[]
  /** The exchange's sequence number of the last change. */
  sequence: number | null
  /** Unix milliseconds: the exchange's stamp of the last change. */
  exchangeTime: number | null
  /** Milliseconds since the gateway read the last change. */
  ageMs: number | null
  source: Source | null
  /** How often the book became void since the gateway started. */
  voids: number
  /** Unix milliseconds. */
  timestamp: number
}

/** A requested order book. */
export interface BookName {
  symbol: string
  exchange: string
}

/** A subscribed order book, with the levels per side that the gateway sends. */
export interface BookAsked extends BookName {
  levels: number
}

/** The reply to `subscribe`: the complete subscription of the client. */
export interface SubscribedMessage {
  type: 'subscribed'
  symbols: string[]
  exchanges: string[]
  message: string
  /** Only if the request or the subscription contains order books. */
  books?: BookAsked[]
}

/** The reply to `unsubscribe`: the remaining subscription. */
export interface UnsubscribedMessage {
  type: 'unsubscribed'
  symbols: string[]
  exchanges: string[]
  message: string
  books?: BookAsked[]
}

/** A request was rejected. The connection stays open. */
export interface ErrorMessage {
  type: 'error'
  message: string
}

/** Instruments or exchanges were added or removed at run time; only with `extended`. */
export interface InstrumentsMessage {
  type: 'instruments'
  /** Symbols. */
  added: string[]
  removed: string[]
  exchangesAdded: string[]
  exchangesRemoved: string[]
}

/** All messages from `/ws/prices`. */
export type ServerMessage =
  | PriceMessage
  | ArbitrageMessage
  | OpportunityMessage
  | InstrumentsMessage
  | BookMessage
  | SubscribedMessage
  | UnsubscribedMessage
  | ErrorMessage

/** All requests to `/ws/prices`. */
export interface ClientMessage {
  action: 'subscribe' | 'unsubscribe'
  symbols?: string[]
  exchanges?: string[]
  /** Milliseconds between bursts, 10 to 60000; 0: each change at once. Default 500. */
  intervalMs?: number
  /** Sends sizes, source, state and age with each price, and a notice when a price becomes stale. Default false. */
  extended?: boolean
  /** Sends `opportunity` messages. Default false. */
  opportunities?: boolean
  /** Only alerts and opportunities with this proof or a stronger one. Default `none`. */
  minProof?: MinProof
  /** Order books, in addition to symbols and exchanges. */
  books?: BookName[]
  /** Levels per side of these books. Default 10. */
  levels?: number
}

/** The first message of `/api/market-data/stream`. */
export interface StreamConnected {
  type: 'connected'
  pairs: string[]
  timestamp: number
}

/** The price of a pair with statistics of the last 24 hours, from `/api/market-data/stream`. */
export interface PriceUpdate {
  /** As requested. */
  pair: string
  /** Last trade. */
  price: number
  bid: number
  ask: number
  high24h: number
  low24h: number
  /** In quote currency. */
  change24h: number
  changePercent24h: number
  /** In quote currency. */
  volume24h: number
  /** Unix milliseconds. */
  timestamp: number
  /** Set if the price is from the book of another quote currency, such as `USDT` for `BTC/USD`. */
  quoteAlias?: string
  /** `false`: the exchange sends no statistics, and their values are 0. */
  statistics?: boolean
  source?: Source
  level?: Level
}

/** One pair of `/api/market-data/prices`. */
export interface MarketDataPrice {
  pair: string
  /** Last trade. */
  price: number
  /** In quote currency. */
  volume: number
  /** Unix milliseconds. */
  timestamp: number
  /** In percent. */
  change24h: number
  high24h: number
  low24h: number
  bid: number
  ask: number
}

// Checks. A shape names each member of its message once. The compiler compares it with the type.

type Check = (value: unknown) => boolean
type Shape<T> = { [K in keyof T]-?: undefined extends T[K] ? [Check] : Check }

const text: Check = (value) => typeof value === 'string'
const number: Check = (value) => typeof value === 'number' && Number.isFinite(value)
const price: Check = (value) => number(value) && (value as number) > 0
const flag: Check = (value) => typeof value === 'boolean'
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value)
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check)
const level: Check = (value) => Array.isArray(value) && value.length === 2 && price(value[0]) && number(value[1])
const asked: Check = (value) => {
  const { symbol, exchange, levels } = (value ?? {}) as Partial<BookAsked>
  return text(symbol) && text(exchange) && number(levels)
}
const survival: Check = (value) => {
  const { episodes, pooled, alive, netKept } = (value ?? {}) as Partial<SurvivalSummary>
  return number(episodes) && flag(pooled) && list(orNull(number))(alive) && list(orNull(number))(netKept)
}
const texts = list(text)
const exactly =
  (...wanted: string[]): Check =>
  (value) =>
    wanted.includes(value as string)

const evidence = {
  proof: [text] as [Check],
  proofMs: [orNull(number)] as [Check],
  proofErrorMs: [orNull(number)] as [Check],
  buyExcessLagMs: [orNull(number)] as [Check],
  sellExcessLagMs: [orNull(number)] as [Check],
}
const leg = { symbol: text, buyExchange: text, sellExchange: text, buyPrice: price, sellPrice: price, spreadPct: number }
const sets = { symbols: texts, exchanges: texts, message: text, books: [list(asked)] as [Check] }

const SHAPES: { [K in ServerMessage['type']]: Shape<Extract<ServerMessage, { type: K }>> } = {
  price: {
    type: exactly('price'),
    symbol: text,
    exchange: text,
    bid: price,
    ask: price,
    timestamp: number,
    bidSize: [number],
    askSize: [number],
    seq: [number],
    source: [text],
    state: [text],
    ageMs: [number],
    receivedNs: [number],
    level: [text],
    excessLagMs: [orNull(number)],
  },
  arbitrage: {
    type: exactly('arbitrage'),
    ...leg,
    profit: number,
    timestamp: number,
    netSpreadPct: [number],
    basisPct: [number],
    executableSize: [number],
    buyAgeMs: [number],
    sellAgeMs: [number],
    source: [text],
    id: [text],
    group: [text],
    groupLeg: [exactly('buy', 'sell')],
    groupSize: [number],
    ...evidence,
    survival: [survival],
  },
  opportunity: {
    type: exactly('opportunity'),
    change: exactly('opened', 'updated', 'closed'),
    id: text,
    ...leg,
    netSpreadPct: number,
    basisPct: [number],
    executableSize: number,
    buyAgeMs: number,
    sellAgeMs: number,
    openedAt: number,
    livedMs: number,
    peakSpreadPct: number,
    group: [text],
    groupLeg: [exactly('buy', 'sell')],
    groupSize: [number],
    ...evidence,
    reason: [text],
    class: [text],
    survival: [survival],
    source: text,
    timestamp: number,
  },
  instruments: {
    type: exactly('instruments'),
    added: texts,
    removed: texts,
    exchangesAdded: texts,
    exchangesRemoved: texts,
  },
  book: {
    type: exactly('book'),
    symbol: text,
    exchange: text,
    state: text,
    reason: [text],
    leader: [text],
    bids: list(level),
    asks: list(level),
    sequence: orNull(number),
    exchangeTime: orNull(number),
    ageMs: orNull(number),
    source: orNull(text),
    voids: number,
    timestamp: number,
  },
  subscribed: { type: exactly('subscribed'), ...sets },
  unsubscribed: { type: exactly('unsubscribed'), ...sets },
  error: { type: exactly('error'), message: text },
}

const CONNECTED: Shape<StreamConnected> = { type: exactly('connected'), pairs: texts, timestamp: number }

const day = { pair: text, price, bid: price, ask: price, high24h: number, low24h: number, change24h: number, timestamp: number }
const UPDATE: Shape<PriceUpdate> = {
  ...day,
  changePercent24h: number,
  volume24h: number,
  quoteAlias: [text],
  statistics: [flag],
  source: [text],
  level: [text],
}
const MARKET_DATA: Shape<MarketDataPrice> = { ...day, volume: number }

/** The members of `shape` only; `undefined` if one is missing or has another type. */
function take<T>(value: object, shape: Shape<T>): T | undefined {
  const taken: Record<string, unknown> = {}
  for (const name in shape) {
    const check = shape[name] as Check | [Check]
    const member = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
    if (typeof check === 'function') {
      if (!check(member)) return undefined
    } else if (member === undefined) {
      continue
    } else if (!check[0](member)) {
      return undefined
    }
    taken[name] = member
  }
  return taken as T
}

function object(data: unknown): Record<string, unknown> | undefined {
  if (typeof data !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(data)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Reads a frame of `/ws/prices`. `undefined`: not JSON, an unknown type, or a missing or invalid member. */
export function parseMessage(data: unknown): ServerMessage | undefined {
  const value = object(data)
  const type = value?.type
  if (!value || typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) return undefined
  return take<ServerMessage>(value, SHAPES[type as ServerMessage['type']] as Shape<ServerMessage>)
}

/** Reads an event of `/api/market-data/stream`; `undefined` as above. */
export function parseStreamEvent(data: unknown): StreamConnected | PriceUpdate | undefined {
  const value = object(data)
  if (!value) return undefined
  return value.type === 'connected' ? take(value, CONNECTED) : take(value, UPDATE)
}

/** Reads a pair of `/api/market-data/prices`, already parsed; `undefined` as above. */
export function readMarketDataPrice(value: unknown): MarketDataPrice | undefined {
  return typeof value === 'object' && value !== null ? take(value, MARKET_DATA) : undefined
}
