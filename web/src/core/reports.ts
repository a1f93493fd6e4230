// What the gateway's pages say about itself: `/api/status`, `/api/instruments`, `/api/opportunities`, `/api/latency`,
// `/api/websocket/stats`, as docs/protocol.md and docs/operating.md describe them. Types only: a page is for people to
// look at, and nothing is decided by it.

import type { OpportunityMessage, Source } from './messages.js'

/** Counts by reason. */
export type Reasons = Readonly<Record<string, number>>

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
  frames: number
  unusedFrames: number
  quotes: number
  bytes: number
  decodeErrors: Reasons
  dropped: Reasons
  ringConflated: number
  silences: number
  mute: number
  refused: number
  tlsRefused: number
  /** The exchange's clock against the gateway's in milliseconds. */
  clockOffsetMs: number | null
  takerFeePct: number
}

/** What finds opportunities. */
export interface DetectorStatus {
  quotes: number
  merged: number
  open: number
  opened: number
  alerts: number
  debounced: number
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
}

export interface LimitsStatus {
  clientsMax: number
  streamsMax: number
  pairsMax: number
  beatMs: number
  streamBeatMs: number
  staleAfterMs: number
  thresholdPct: number
  /** `gross` or `net`. */
  thresholdOn: string
  debounceMs: number
}

/** `/api/status`. */
export interface Status {
  timestamp: number
  /** As health says it: `healthy`, `degraded`, `at_capacity`. */
  status: string
  alerts: readonly string[]
  process: { version: string; uptimeMs: number; instance: string; hostname: string; source: Source }
  venues: readonly VenueStatus[]
  detector: DetectorStatus
  gateway: GatewayStatus
  limits: LimitsStatus
  /** Role and neighbours, when there is a cluster. */
  cluster: Readonly<Record<string, unknown>> | null
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

/** `/api/latency`, since the gateway's start. */
export interface Latency {
  unit: 'ns'
  hops: readonly Hop[]
}

/** `/api/websocket/stats`. */
export interface SocketStats {
  status: string
  stats: { clientCount: number; totalSubscriptions: number; uniqueSymbols: number; uniqueExchanges: number }
}
