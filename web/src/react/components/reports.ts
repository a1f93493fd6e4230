// The gateway's pages about itself, as docs/protocol.md and docs/operating.md describe them: `/api/status`,
// `/api/latency`, `/api/instruments`.

/** Counts by reason. */
export type Reasons = Readonly<Record<string, number>>

export interface VenueStatus {
  exchange: string
  /** Of the connection: `connected`, `reconnecting`, … */
  state: string
  /** `fresh`: all its pairs have a fresh price; `partial`, `none`. */
  data: string
  freshPairs: number
  quotedPairs: number
  subscribedPairs: number
  source: string | null
  connectedMs: number | null
  lastBytesMs: number | null
  reconnects: number
  disconnects: number
  connectionAttempts: number
  consecutiveErrors: number
  lastError: string | null
  frames: number
  quotes: number
  bytes: number
  decodeErrors: Reasons
  dropped: Reasons
  ringConflated: number
  silences: number
  /** The exchange's clock against ours in milliseconds; `null` until it is known. */
  clockOffsetMs: number | null
  takerFeePct: number
}

export interface GatewayStatus {
  threads: number
  /** WebSocket clients. */
  clients: number
  /** Server-sent event streams. */
  streams: number
  connections: number
  subscriptions: number
  prices: number
  alerts: number
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

export interface Status {
  timestamp: number
  status: string
  alerts: readonly string[]
  process: { version: string; uptimeMs: number; instance: string; hostname: string; source: string }
  venues: readonly VenueStatus[]
  detector: {
    quotes: number
    merged: number
    open: number
    opened: number
    alerts: number
    debounced: number
    eventsLost: number
  }
  gateway: GatewayStatus
  limits: { staleAfterMs: number; thresholdPct: number; thresholdOn: string; beatMs: number; clientsMax: number }
  /** Role and neighbours, when there is a cluster. */
  cluster: Readonly<Record<string, unknown>> | null
}

export interface Percentiles {
  count: number
  p50: number
  p90: number
  p99: number
  p999: number
  max: number
}

export interface Hop {
  hop: string
  from: string
  to: string
  all: Percentiles
  exchanges: Readonly<Record<string, Percentiles>>
}

/** Nanoseconds since the start. */
export interface Latency {
  unit: 'ns'
  hops: readonly Hop[]
}

export interface Instruments {
  instruments: readonly { symbol: string; exchanges: readonly string[] }[]
}

export interface SocketStats {
  status: string
  stats: { clientCount: number; totalSubscriptions: number; uniqueSymbols: number; uniqueExchanges: number }
}

/** The sum over all reasons. */
export function total(reasons: Reasons): number {
  return Object.values(reasons).reduce((sum, count) => sum + count, 0)
}
