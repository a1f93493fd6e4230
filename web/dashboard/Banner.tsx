// The banner: the origin of the prices and the state of the connection.

import { useConnection, useLiveExchangePrices } from '../src/react/index.js'
import type { LivePrice } from '../src/react/index.js'
import type { ClusterStatus, Status } from '../src/core/reports.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { Dot, Name, Pill, sourceTone } from '../src/react/components/parts.js'
import { tamed } from '../src/react/components/text.js'
import type { Watched } from './watched.js'
import { useSettings } from './settings.js'

const SAYS: ReadonlyMap<string, string> = new Map([
  ['live', 'Live exchange prices'],
  ['simulated', 'Simulated prices, not a market'],
  ['replay', 'Replay of recorded prices'],
  ['none', 'No exchange is connected yet'],
])

export function Banner({ watched }: { watched: Watched }) {
  const status = useReport<Status>('/api/status', { everyMs: 1000 })
  const connection = useConnection()
  const value = status.value
  const lost = !connection.isConnected
  // A page that is still connecting shows no error.
  const isAmiss = lost && (['silent', 'waiting', 'failed'].includes(connection.state) || connection.attempts > 0 || status.problem !== null)
  return (
    <header className={value && value.process.source !== 'live' ? 'banner unreal' : 'banner'}>
      <h1 className="mark">
        <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
          <path d="M3 10h9l5 12h12" className="mark-one" />
          <path d="M3 22h9l5-12h12" className="mark-two" />
        </svg>
        spreadwire
      </h1>
      <span className="provenance">
        {(value?.process.source ?? '').split(', ').map(
          (source) =>
            source !== '' && (
              <Pill key={source} tone={source === 'none' ? 'plain' : sourceTone(source)}>
                {SAYS.get(source) ?? <Name>{source}</Name>}
              </Pill>
            ),
        )}
        <Levels watched={watched} />
      </span>
      {value?.cluster && <Role cluster={value.cluster} venues={value.venues.length} />}
      <span className="state" role="status">
        <Dot on={!lost} /> {lost ? 'Disconnected' : 'Connected'}
      </span>
      {isAmiss && (
        <p className="alert" role="alert">
          The gateway does not answer.{' '}
          {connection.state === 'failed'
            ? 'Reload the page to try again.'
            : 'Reconnecting automatically; the prices shown are the last known.'}
        </p>
      )}
      {!lost && status.problem !== null && (
        <p className="alert" role="alert">
          The state of the gateway is not current: <Name max={160}>{status.problem}</Name>. Prices continue.
        </p>
      )}
      {!lost && status.problem === null && value && value.alerts.length > 0 && (
        <ul className="alerts" aria-label="Problems">
          {value.alerts.slice(0, ALERTS_MAX).map((alert) => (
            <li key={alert}>
              <Name max={160}>{alert}</Name>
            </li>
          ))}
          {value.alerts.length > ALERTS_MAX && <li>and {value.alerts.length - ALERTS_MAX} more</li>}
        </ul>
      )}
    </header>
  )
}

const ALERTS_MAX = 4

/** Labels prices that another instance shared, and last known prices. */
function Levels({ watched }: { watched: Watched }) {
  const { intervalMs } = useSettings()
  const { prices } = useLiveExchangePrices({
    initialSymbols: watched.symbols,
    initialExchanges: watched.exchanges,
    intervalMs,
    extended: true,
    notify: false,
  })
  let shared = 0
  let cached = 0
  for (const price of Object.values<LivePrice>(prices)) {
    if (price.freshness === 'gone') continue
    if (price.level === 'shared' || price.source === 'shared') shared += 1
    else if (price.state === 'cached' || price.level === 'redis_cache' || price.level === 'local_cache') cached += 1
  }
  return (
    <>
      {shared > 0 && <Pill tone="info">{shared} shared by the leader</Pill>}
      {cached > 0 && <Pill tone="bad">{cached} last known, not current</Pill>}
    </>
  )
}

/** The role of this instance in its cluster. Each exchange has its own leader. */
function Role({ cluster, venues }: { cluster: ClusterStatus; venues: number }) {
  const { leads, redis } = cluster
  if (redis !== 'connected') return <Pill tone="bad">no cluster: Redis is {tamed(redis, 24)}</Pill>
  if (leads.length === 0) return <Pill tone="info">follower</Pill>
  return <Pill tone="good">{leads.length === venues ? 'leader' : `leads ${leads.length} of ${venues}`}</Pill>
}
