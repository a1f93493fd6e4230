// What the gateway's pages say about itself: `/api/status`, `/api/instruments`, `/api/opportunities`, `/api/latency`,
// `/api/websocket/stats`, as docs/protocol.md and docs/operating.md describe them. Types only: a page is for people to
// look at, and nothing is decided by it.

import type { Level, OpportunityMessage, Source } from './messages.js'

/** Counts by reason. */
export type Reasons = Readonly<Record<string, number>>

/** What keeps a peer that fails from being asked again and again. */
export interface CircuitBreakerStatus {
  /** `closed`, `open`, `half_open`. */
  state: string
  failureCount: number
  successCount: number
  /** Milliseconds; 0: never. */
  timeSinceLastFailure: number
  reason: string | null
  retryInMs: number | null
}

/** The order books of one exchange. */
export interface VenueBooksStatus {
  /** Of their connection: `connected`, `reconnecting`, … */
  state: string
  /** Books that are asked for, and how many of them hold. */
  wanted: number
  live: number
  /** Milliseconds since the last change of the quietest that holds. */
  oldestMs: number | null
  lastBytesMs: number | null
  connections: number
  connectionsWanted: number
  reconnects: number
  changes: number
  frames: number
  bytes: number
  /** Books that became void. */
  voids: Reasons
  decodeErrors: Reasons
  lastError: string | null
}

/** One exchange in {@link Status}. Counts grow from the gateway's start; `null`: not known, or not yet. */
export interface VenueStatus {
  exchange: string
  /** Of the connection: `connected`, `reconnecting`, … */
  state: string
  /** `fresh`: all its pairs have a fresh price; `partial`, `none`. */
  data: string
  freshPairs: number
  quotedPairs: number
  subscribedPairs: number
  /** Subscribed, and silent for longer than is usual for them. */
  silentPairs: number
  /** Asked for, and never came. */
  missingPairs: number
  connections: number
  connectionsWanted: number
  /** Milliseconds until it is dialled again; `null` while that is not waited for. */
  nextAttemptMs?: number | null
  source: Source | null
  /** Milliseconds since it was connected. */
  connectedMs: number | null
  /** Milliseconds since it last said anything. */
  lastBytesMs: number | null
  reconnects: number
  disconnects: number
  connectionAttempts: number
  consecutiveErrors: number
  lastError: string | null
  /** What the exchange last said about itself. */
  lastNotice: string | null
  frames: number
  unusedFrames: number
  quotes: number
  bytes: number
  decodeErrors: Reasons
  dropped: Reasons
  ringConflated: number
  silences: number
  /** How often a pair fell silent. */
  silenced: number
  /** How often one pair was subscribed again, alone. */
  resubscribed: number
  /** Connections replaced by a new one before they ended. */
  replaced: number
  notices: number
  /** Stamps later than their arrival. */
  futureStamps: number
  /** Turns of its thread that were over before all that had been read was decoded. */
  turnsCut?: number
  /** Pairs whose checksum failed three times in a minute. */
  checksumPairs?: number
  mute: number
  refused: number
  tlsRefused: number
  /** The exchange's clock against the gateway's in milliseconds. */
  clockOffsetMs: number | null
  /** How long a frame is on its way at best. */
  oneWayMs: number | null
  takerFeePct: number
  /** `null`: the gateway asks it for none. */
  books: VenueBooksStatus | null
  /** The best that its prices have; `degraded`: it has none. */
  level: Level
  /** How late its quotes are by their stamps in milliseconds; only while they make no alert for it. */
  quoteLagMs?: number
  /** Only while a connection has a backlog or is unusually silent, so that its quotes make no alert. */
  behind?: boolean
  circuitBreaker: CircuitBreakerStatus
  /** This and what follows: only in a cluster. Of this instance for this exchange. */
  role?: string
  leader?: string | null
  leaderHostname?: string | null
  /** The leader's fencing token. */
  token?: number
  /** How far behind the leader its prices are. */
  lagMs?: number
  lastBatchMs?: number | null
}

/** This instance in its cluster. */
export interface ClusterStatus {
  instance: string
  /** The state of the connection to Redis. */
  redis: string
  redisSinceMs: number | null
  roundTripMs: number
  circuitBreaker: CircuitBreakerStatus
  lastError: string | null
  members: readonly string[]
  /** Exchanges that this instance leads. */
  leads: readonly string[]
}

/** What finds opportunities. */
export interface DetectorStatus {
  quotes: number
  merged: number
  open: number
  opened: number
  alerts: number
  debounced: number
  /** Looks at a spread above the threshold that was not alerted, by reason; missing before there were reasons. */
  refused?: Record<string, number>
  eventsLost: number
  /** Of `ringSize`, in the last second. */
  ringPeak: number
  ringSize: number
}

/** What serves clients, over all its threads. */
export interface GatewayStatus {
  threads: number
  /** WebSocket clients. */
  clients: number
  /** Server-sent event streams. */
  streams: number
  connections: number
  /** Clients that follow opportunities. */
  followers: number
  subscriptions: number
  prices: number
  alerts: number
  opportunities: number
  bytes: number
  conflated: number
  slowClosed: number
  misbehavedClosed: number
  errors: number
  accepted: number
  refused: number
  requests: number
  badRequests: number
  /** Order books that clients watch. */
  booksWatched: number
  /** Messages of them. */
  books: number
  /** States that slow clients were not told. */
  booksConflated: number
}

export interface LimitsStatus {
  clientsMax: number
  streamsMax: number
  pairsMax: number
  /** Symbols of one client, and exchanges; this and the next two are missing from older gateways. */
  namesMax?: number
  /** UTF-8 bytes of one name. */
  nameBytesMax?: number
  /** Bytes of all names of one client as JSON. */
  namesBytesMax?: number
  beatMs: number
  streamBeatMs: number
  staleAfterMs: number
  thresholdPct: number
  /** `gross` or `net`. */
  thresholdOn: string
  debounceMs: number
  /** Levels a side that order books may have; 0: there are none. */
  bookLevels: number
  /** Milliseconds between two states of a book. */
  bookBeatMs: number
}

/** `/api/status`. */
export interface Status {
  timestamp: number
  /** As health says it: `healthy`, `degraded`, `at_capacity`. */
  status: string
  /** The best that any price has. */
  level?: Level
  alerts: readonly string[]
  process: { version: string; uptimeMs: number; instance: string; hostname: string; source: Source }
  venues: readonly VenueStatus[]
  detector: DetectorStatus
  gateway: GatewayStatus
  limits: LimitsStatus
  /** For how long no exchange has answered, in milliseconds; `null` while one does. */
  ownLineDownMs?: number | null
  /** `null`: this gateway is alone. */
  cluster: ClusterStatus | null
}

/** `/api/instruments`: which exchanges quote what. */
export interface Instruments {
  instruments: readonly { symbol: string; exchanges: readonly string[] }[]
}

/** `/api/opportunities`: the open ones, and the last 100 closed, newest first. */
export interface Opportunities {
  open: readonly OpportunityMessage[]
  closed: readonly OpportunityMessage[]
}

/** Of one histogram, in nanoseconds. */
export interface Percentiles {
  count: number
  p50: number
  p90: number
  p99: number
  p999: number
  max: number
}

/** One part of a quote's way through the gateway. */
export interface Hop {
  hop: string
  from: string
  to: string
  all: Percentiles
  exchanges: Readonly<Record<string, Percentiles>>
}

/** Turns of one stage of the gateway. */
export interface StageTurns {
  stage: string
  thread: string
  /** Turns and overruns longer than 100 ms. */
  stalls: number
  /** Duration of a turn without its sleep. */
  turn: Percentiles
  /** Time slept beyond what was meant. */
  overrun: Percentiles
}

/** `/api/latency`, since the gateway's start. */
export interface Latency {
  unit: 'ns'
  hops: readonly Hop[]
  /** Missing from gateways that do not measure it. */
  stages?: readonly StageTurns[]
}

/** `/api/websocket/stats`. */
export interface SocketStats {
  status: string
  stats: { clientCount: number; totalSubscriptions: number; uniqueSymbols: number; uniqueExchanges: number }
}
