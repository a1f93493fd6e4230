// Clients, subscriptions and message rates of the gateway.

import type { SocketStats, Status } from '../../core/reports.js'
import { useReport } from '../hooks/useReport.js'
import { Pill } from './parts.js'
import { duration, short } from './text.js'
import { useRate } from './useRate.js'

export interface StatsPanelProps {
  /** The gateway, such as `https://host`; default: the origin of the page. */
  url?: string | undefined
  /** Milliseconds between two requests. Default 1000. */
  everyMs?: number
  title?: string
}

export function StatsPanel({ url, everyMs = 1000, title = 'Gateway' }: StatsPanelProps) {
  const stats = useReport<SocketStats>('/api/websocket/stats', { url, everyMs })
  const status = useReport<Status>('/api/status', { url, everyMs })
  const own = status.value
  const isCurrent = stats.problem === null && status.problem === null
  const prices = useRate(own?.gateway.prices, own?.timestamp)
  const quotes = useRate(own?.detector.quotes, own?.timestamp)
  const counts = stats.value?.stats
  const connected = own?.venues.filter((venue) => venue.state === 'connected').length
  return (
    <section className="sw sw-panel" aria-label={title}>
      <header className="sw-head">
        <h2 className="sw-title">{title}</h2>
        <span role="status">{!isCurrent ? <Pill tone="bad">Unreachable</Pill> : own && <Health status={own.status} />}</span>
      </header>
      <dl className={`sw-tiles ${isCurrent ? '' : 'sw-old'}`}>
        <Tile name="Clients" value={counts && short(counts.clientCount)} />
        <Tile name="Subscribed pairs" value={counts && short(counts.totalSubscriptions)} />
        <Tile name="Symbols" value={counts && short(counts.uniqueSymbols)} />
        <Tile name="Exchanges" value={counts && short(counts.uniqueExchanges)} />
        <Tile name="Quotes in" value={isCurrent ? perSecond(quotes) : undefined} />
        <Tile name="Prices out" value={isCurrent ? perSecond(prices) : undefined} />
        <Tile name="Feeds connected" value={own && isCurrent ? `${connected} of ${own.venues.length}` : undefined} />
        <Tile name="Up for" value={own && isCurrent ? duration(own.process.uptimeMs) : undefined} />
      </dl>
    </section>
  )
}

function Health({ status }: { status: string }) {
  return <Pill tone={status === 'healthy' ? 'good' : 'bad'}>{status.replaceAll('_', ' ')}</Pill>
}

const perSecond = (rate: number | undefined) => (rate === undefined ? undefined : `${short(Math.round(rate))}/s`)

/** A number with its label. */
export function Tile({ name, value, note }: { name: string; value: string | undefined; note?: string }) {
  return (
    <div className="sw-tile">
      <dt>{name}</dt>
      <dd className="sw-num">
        {value ?? '–'}
        {note !== undefined && note !== '' && <small>{note}</small>}
      </dd>
    </div>
  )
}
