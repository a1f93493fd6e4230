// The language of the gateway: every message that it sends, as a type and as a check that text from the
// network passes before anything else sees it. docs/protocol.md describes the messages,
// tests/fixtures/protocol holds one example of each. Texts are only ever texts here.

/** Where numbers come from: exchanges, a simulator, a recording. */
export type Source = 'live' | 'simulated' | 'replay' | (string & {})

/** How numbers reached the gateway: by its own feed, from the leader of the cluster, as last known, or not at all. */
export type Level = 'websocket' | 'shared' | 'redis_cache' | 'local_cache' | 'degraded' | (string & {})

/** What the gateway says of a quote: to be trusted, too old, not yet confirmed, last known from before a restart. */
export type QuoteState = 'fresh' | 'stale' | 'suspect' | 'halted' | 'cached' | (string & {})

/** Best bid and ask of a symbol on an exchange. */
export interface PriceMessage {
  type: 'price'
  /** As it was subscribed. */
  symbol: string
  /** As it was subscribed. */
  exchange: string
  /** Best bid in quote currency. */
  bid: number
  /** Best ask in quote currency. */
  ask: number
  /** Unix milliseconds: the exchange's stamp, or when the gateway read the quote. */
  timestamp: number
  /** In base currency. This and what follows: only with `extended`. */
  bidSize?: number
  /** In base currency. */
  askSize?: number
  /** Grows with each change of the pair. */
  seq?: number
  source?: Source
  state?: QuoteState
  /** Milliseconds since the gateway read the quote. */
  ageMs?: number
  /** The gateway's monotonic clock in nanoseconds, to the precision of a double. */
  receivedNs?: number
  level?: Level
}

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
  /** Of 100 units of base, before fees, in quote currency. */
  profit: number
  /** Unix milliseconds. */
  timestamp: number
  /** After the taker fees of both sides. This and what follows: only with `extended`. */
  netSpreadPct?: number
  /** The smaller of both sizes, in base currency. */
  executableSize?: number
  buyAgeMs?: number
  sellAgeMs?: number
  source?: Source
  /** `id` of its `opportunity` messages. */
  id?: string
  /** See `OpportunityMessage`. */
  group?: string
  groupLeg?: 'buy' | 'sell'
  groupSize?: number
}

/** Why an opportunity closed. Others may follow. */
export type CloseReason =
  | 'buy_moved'
  | 'sell_moved'
  | 'both_moved'
  | 'collapsed'
  | 'leg_stale'
  | 'leg_void'
  | 'quarantined'
  | 'venue_lost'
  | 'lagging_venue'
  | 'lagging_own'
  | 'not_trading'
  | 'removed'
  | 'shutdown'
  | 'unknown'
  | (string & {})

/** The life of an opportunity; only with `opportunities`. */
export interface OpportunityMessage {
  type: 'opportunity'
  change: 'opened' | 'updated' | 'closed'
  /** The same from `opened` to `closed`. */
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
  /** The smaller of both sizes, in base currency. */
  executableSize: number
  buyAgeMs: number
  sellAgeMs: number
  /** Unix milliseconds. */
  openedAt: number
  livedMs: number
  /** The largest `spreadPct` so far. */
  peakSpreadPct: number
  /** One venue's jump makes an opportunity with each other venue: all of them have the same `group`, the `id` of the one that stands for them. Servers of this version on send it. */
  group?: string
  /** The leg that the group shares. */
  groupLeg?: 'buy' | 'sell'
  /** How many of the group are open, after this message. */
  groupSize?: number
  /** Why it is over; only with `closed`. */
  reason?: CloseReason
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
  /** As it was asked. */
  symbol: string
  /** As it was asked. */
  exchange: string
  state: BookState
  /** Why it is void, or none. */
  reason?: string
  /** The instance that has it, where this one has not. */
  leader?: string
  /** The best first. Empty unless it is `live` or `stale`. */
  bids: BookLevel[]
  /** The best first. Empty unless it is `live` or `stale`. */
  asks: BookLevel[]
  /** The exchange's number of its last change. */
  sequence: number | null
  /** Unix milliseconds: the exchange's stamp of its last change. */
  exchangeTime: number | null
  /** Milliseconds since the gateway read its last change. */
  ageMs: number | null
  source: Source | null
  /** How often it became void since the gateway started. */
  voids: number
  /** Unix milliseconds. */
  timestamp: number
}

/** An order book that is asked for. */
export interface BookName {
  symbol: string
  exchange: string
}

/** One that the gateway gives, so many levels a side. */
export interface BookAsked extends BookName {
  levels: number
}

/** The reply to `subscribe`: the client's whole sets. */
export interface SubscribedMessage {
  type: 'subscribed'
  symbols: string[]
  exchanges: string[]
  message: string
  /** Only for who has to do with order books. */
  books?: BookAsked[]
}

/** The reply to `unsubscribe`: what remains. */
export interface UnsubscribedMessage {
  type: 'unsubscribed'
  symbols: string[]
  exchanges: string[]
  message: string
  books?: BookAsked[]
}

/** What was wrong with a request; the connection stays open. */
export interface ErrorMessage {
  type: 'error'
  message: string
}

/** Instruments or exchanges came or went while the gateway runs. Extended clients hear it. */
export interface InstrumentsMessage {
  type: 'instruments'
  /** Symbols. */
  added: string[]
  removed: string[]
  exchangesAdded: string[]
  exchangesRemoved: string[]
}

/** Everything that `/ws/prices` says. */
export type ServerMessage =
  | PriceMessage
  | ArbitrageMessage
  | OpportunityMessage
  | InstrumentsMessage
  | BookMessage
  | SubscribedMessage
  | UnsubscribedMessage
  | ErrorMessage

/** What a client says on `/ws/prices`. */
export interface ClientMessage {
  action: 'subscribe' | 'unsubscribe'
  symbols?: string[]
  exchanges?: string[]
  /** Milliseconds between bursts, 10 to 60000; 0: each change at once. Default 500. */
  intervalMs?: number
  /** Sizes, source, state and ages, and a word when a price goes stale. Default false. */
  extended?: boolean
  /** The life of opportunities as `opportunity` messages. Default false. */
  opportunities?: boolean
  /** Order books, besides the two sets. */
  books?: BookName[]
  /** How many levels a side those shall have. Default 10. */
  levels?: number
}

/** The first message of `/api/market-data/stream`. */
export interface StreamConnected {
  type: 'connected'
  pairs: string[]
  timestamp: number
}

/** The price of a pair with its day, from `/api/market-data/stream`. */
export interface PriceUpdate {
  /** As it was asked. */
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
  /** Set where another quote currency's book answers, e.g. `USDT` for `BTC/USD`. */
  quoteAlias?: string
  /** `false`: the exchange sends no day, and the day's figures are 0. */
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

// Checks. A shape names each member of its message once; the compiler holds it to the type.

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
const texts = list(text)
const exactly =
  (...wanted: string[]): Check =>
  (value) =>
    wanted.includes(value as string)

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
  },
  arbitrage: {
    type: exactly('arbitrage'),
    ...leg,
    profit: number,
    timestamp: number,
    netSpreadPct: [number],
    executableSize: [number],
    buyAgeMs: [number],
    sellAgeMs: [number],
    source: [text],
    id: [text],
    group: [text],
    groupLeg: [exactly('buy', 'sell')],
    groupSize: [number],
  },
  opportunity: {
    type: exactly('opportunity'),
    change: exactly('opened', 'updated', 'closed'),
    id: text,
    ...leg,
    netSpreadPct: number,
    executableSize: number,
    buyAgeMs: number,
    sellAgeMs: number,
    openedAt: number,
    livedMs: number,
    peakSpreadPct: number,
    group: [text],
    groupLeg: [exactly('buy', 'sell')],
    groupSize: [number],
    reason: [text],
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

/** The members of `shape` alone, or nothing when one is missing or of another kind. */
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

/** Reads one frame of `/ws/prices`. `undefined`: not JSON, a type of a later gateway, or a member missing or wrong. */
export function parseMessage(data: unknown): ServerMessage | undefined {
  const value = object(data)
  const type = value?.type
  if (!value || typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) return undefined
  return take<ServerMessage>(value, SHAPES[type as ServerMessage['type']] as Shape<ServerMessage>)
}

/** Reads one event of `/api/market-data/stream`; `undefined` as above. */
export function parseStreamEvent(data: unknown): StreamConnected | PriceUpdate | undefined {
  const value = object(data)
  if (!value) return undefined
  return value.type === 'connected' ? take(value, CONNECTED) : take(value, UPDATE)
}

/** Reads one pair of `/api/market-data/prices`, already parsed; `undefined` as above. */
export function readMarketDataPrice(value: unknown): MarketDataPrice | undefined {
  return typeof value === 'object' && value !== null ? take(value, MARKET_DATA) : undefined
}
