// Types of the gateway's reports: `/api/status`, `/api/instruments`, `/api/opportunities`, `/api/refusals`, `/api/latency`,
// `/api/websocket/stats`, as described in docs/protocol.md and docs/operating.md. Reports are shown to people and not checked.

import type { Level, MinProof, OpportunityMessage, Source } from './messages.js'

/** Counts by reason. */
export type Reasons = Readonly<Record<string, number>>

/** A circuit breaker, which pauses the attempts to reach a failing peer. */
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
  /** State of their connection: `connected`, `reconnecting`, … */
  state: string
  /** Subscribed books, and how many of them are live. */
  wanted: number
  live: number
  /** Milliseconds since the last change of the live book that changed least recently. */
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

/** One exchange in {@link Status}. Counts start with the gateway; `null`: unknown, or not yet known. */
export interface VenueStatus {
  exchange: string
  /** State of the connection: `connected`, `reconnecting`, … */
  state: string
  /** `fresh`: all its pairs have a fresh price; `partial`, `none`. */
  data: string
  freshPairs: number
  quotedPairs: number
  subscribedPairs: number
  /** Subscribed pairs that are silent for longer than usual. */
  silentPairs: number
  /** Subscribed pairs that were never quoted. */
  missingPairs: number
  connections: number
  connectionsWanted: number
  /** Milliseconds until the next connection attempt; `null` if none is scheduled. */
  nextAttemptMs?: number | null
  source: Source | null
  /** Milliseconds since it was connected. */
  connectedMs: number | null
  /** Milliseconds since the exchange last sent anything. */
  lastBytesMs: number | null
  reconnects: number
  disconnects: number
  connectionAttempts: number
  consecutiveErrors: number
  lastError: string | null
  /** The last notice of the exchange about itself. */
  lastNotice: string | null
  frames: number
  unusedFrames: number
  quotes: number
  bytes: number
  decodeErrors: Reasons
  dropped: Reasons
  ringConflated: number
  silences: number
  /** How often a pair became silent. */
  silenced: number
  /** How often a single pair was subscribed again. */
  resubscribed: number
  /** Connections that were replaced before the exchange closed them. */
  replaced: number
  notices: number
  /** Stamps later than their arrival. */
  futureStamps: number
  /** Turns of its thread that ended before all received data was decoded. */
  turnsCut?: number
  /** Pairs whose checksum failed three times in a minute. */
  checksumPairs?: number
  mute: number
  refused: number
  tlsRefused: number
  /** The exchange's clock minus the gateway's, in milliseconds. */
  clockOffsetMs: number | null
  /** Least one-way delay of a frame. */
  oneWayMs: number | null
  takerFeePct: number
  /** `null`: the gateway subscribes to no books there. */
  books: VenueBooksStatus | null
  /** The best level of its prices; `degraded`: it has no price. */
  level: Level
  /** How late its quotes are by their stamps, in milliseconds; only while they make no alerts for that reason. */
  quoteLagMs?: number
  /** Only while a connection has a backlog or is unusually silent, so that its quotes make no alerts. */
  behind?: boolean
  /** From 0 to 100 without faults of its feed. */
  feedScore?: number
  /** Points that its score lost lately, by kind of fault. */
  feedFaults?: Readonly<Record<string, number>>
  /** Time since it was quarantined because its feed score was too low; present only while that lasts. */
  quarantinedMs?: number
  circuitBreaker: CircuitBreakerStatus
  /** The role of this instance for this exchange. This and the following members: only in a cluster. */
  role?: string
  leader?: string | null
  leaderHostname?: string | null
  /** The leader's fencing token. */
  token?: number
  /** Delay of its prices behind the leader, in milliseconds. */
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

/** The detector. */
export interface DetectorStatus {
  quotes: number
  merged: number
  open: number
  opened: number
  alerts: number
  debounced: number
  /** Evaluations of a spread above the threshold without an alert, by reason; absent from older gateways. */
  refused?: Record<string, number>
  eventsLost: number
  /** Most entries of a ring, out of `ringSize`, in the last second. */
  ringPeak: number
  ringSize: number
}

/** The gateway, over all its threads. */
export interface GatewayStatus {
  threads: number
  /** WebSocket clients. */
  clients: number
  /** Server-sent event streams. */
  streams: number
  connections: number
  /** Clients with `opportunities`. */
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
  /** Order books with subscribers. */
  booksWatched: number
  /** Messages of order books. */
  books: number
  /** States that were skipped for slow clients. */
  booksConflated: number
}

export interface LimitsStatus {
  clientsMax: number
  streamsMax: number
  pairsMax: number
  /** Symbols of one client, and likewise exchanges. This and the next two are absent from older gateways. */
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
  /** Most levels per side of order books; 0: no order books. */
  bookLevels: number
  /** Milliseconds between two states of a book. */
  bookBeatMs: number
  /** The part of the threshold at or below which an opportunity closes. This and the next are absent from older gateways. */
  closeRatio?: number
  /** The weakest proof of an alert. */
  proofMin?: MinProof
}

/** `/api/status`. */
export interface Status {
  timestamp: number
  /** As on the health page: `healthy`, `degraded`, `at_capacity`. */
  status: string
  /** The best level of all prices. */
  level?: Level
  alerts: readonly string[]
  process: { version: string; uptimeMs: number; instance: string; hostname: string; source: Source }
  venues: readonly VenueStatus[]
  detector: DetectorStatus
  gateway: GatewayStatus
  limits: LimitsStatus
  /** Milliseconds since any exchange answered; `null` while one does. */
  ownLineDownMs?: number | null
  /** `null`: this gateway is not part of a cluster. */
  cluster: ClusterStatus | null
}

/** `/api/instruments`: the instruments and the exchanges of each. */
export interface Instruments {
  instruments: readonly { symbol: string; exchanges: readonly string[] }[]
}

/** `/api/opportunities`: the open opportunities, and the last 100 closed ones, newest first. */
export interface Opportunities {
  open: readonly OpportunityMessage[]
  closed: readonly OpportunityMessage[]
}

/** Closed opportunities by class. */
export interface ClassCounts {
  closed: number
  real: number
  /** Share of real ones; `null` if none has closed. */
  precision: number | null
  classes: Reasons
}

/** `/api/precision`: the opportunities that closed in the last seven days. */
export interface Precision {
  pairs: readonly (ClassCounts & {
    buyExchange: string
    sellExchange: string
    /** By UTC day, such as `2026-11-30`, the oldest first. */
    days: readonly (ClassCounts & { day: string })[]
  })[]
}

/** Survival at one time after the alert; `null` where one of the exchanges sends changes at a longer interval. */
export interface SurvivalPoint {
  ms: number
  /** Estimated share of opportunities whose net spread is still above 0. */
  alive: number | null
  /** Limits of the 95 % band. */
  low: number | null
  high: number | null
  atRisk: number | null
  censored: number | null
  /** Median of the net spread as a part of that at the alert. */
  netKept: number | null
}

/** Survival of the opportunities of one pair of exchanges. */
export interface PairSurvival {
  buyExchange: string
  sellExchange: string
  /** `null`: all symbols. */
  symbol: string | null
  episodes: number
  /** Whether the opportunities of all symbols are counted. */
  pooled: boolean
  points: readonly SurvivalPoint[]
}

/** `/api/survival`: how long opportunities live. */
export interface Survival {
  timesMs: readonly number[]
  pairs: readonly PairSurvival[]
}

/** A spread above the threshold that is not alerted. */
export interface RefusedCandidate {
  /** The first reason that applies, as in docs/protocol.md. */
  reason: string
  /** The leg that the reason is about. */
  leg?: 'buy' | 'sell'
  /** Why the quote of that leg does not hold. */
  fault?: string
  /** The figure that was compared, and its limit. */
  value?: number
  limit?: number
  unit?: 'ms' | 'pct'
  symbol: string
  buyExchange: string
  sellExchange: string
  buyPrice: number
  sellPrice: number
  spreadPct: number
  netSpreadPct: number
  buyAgeMs: number
  sellAgeMs: number
  /** Unix milliseconds: when this refusal began, and when these numbers were seen. */
  since: number
  timestamp: number
}

/** `/api/refusals`. */
export interface Refusals {
  /** The requested symbol. */
  symbol?: string
  timestamp: number
  /** How often a refusal began. */
  reasons: Reasons
  /** The same by pair of exchanges, over all symbols. */
  routes: readonly { buyExchange: string; sellExchange: string; reasons: Reasons }[]
  /** Refused now, the first of `currentCount`. */
  current: readonly RefusedCandidate[]
  currentCount: number
  /** The last 32 of each reason, newest first. */
  examples: readonly RefusedCandidate[]
  untracked: number
}

/** A histogram, in nanoseconds. */
export interface Percentiles {
  count: number
  p50: number
  p90: number
  p99: number
  p999: number
  max: number
}

/** One hop of a quote through the gateway. */
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
  /** Time slept beyond the intended duration. */
  overrun: Percentiles
}

/** `/api/latency`, since the gateway's start. */
export interface Latency {
  unit: 'ns'
  hops: readonly Hop[]
  /** Absent from gateways that do not measure it. */
  stages?: readonly StageTurns[]
}

/** `/api/websocket/stats`. */
export interface SocketStats {
  status: string
  stats: { clientCount: number; totalSubscriptions: number; uniqueSymbols: number; uniqueExchanges: number }
}
