// The exchanges, the clients and the cluster, for operators.

import { StatsPanel } from '../src/react/index.js'
import type { ClusterStatus, Status, VenueStatus } from '../src/core/reports.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { Name, NotCurrent, Pill, Scroller, sourceTone } from '../src/react/components/parts.js'
import type { Tone } from '../src/react/components/parts.js'
import { Tile } from '../src/react/components/StatsPanel.js'
import { useRate } from '../src/react/components/useRate.js'
import { bytes, duration, fixed, short, tamed } from '../src/react/components/text.js'
import { Columns } from './Columns.js'

export function VenuesView() {
  const { value, problem } = useReport<Status>('/api/status', { everyMs: 1000 })
  const isCurrent = problem === null
  if (!value) return <p className="sw-quiet sw-empty">Waiting for the gateway{problem === null ? '…' : `: ${tamed(problem)}.`}</p>
  return (
    <div className="stack">
      <NotCurrent problem={problem} />
      <section className="box" aria-labelledby="venues-title">
        <div className="bar">
          <h2 id="venues-title">Exchanges</h2>
          <span className="sw-quiet">
            {isCurrent
              ? `${value.venues.filter((venue) => venue.state === 'connected').length} of ${value.venues.length} connected`
              : 'last known'}
          </span>
        </div>
        <Scroller label="Exchanges">
          <table className={isCurrent ? 'sw-plain venues' : 'sw-plain venues sw-old'}>
            <Columns names={[...COLUMNS, ...(value.cluster === null ? [] : ['Role']), 'Last error']} />
            <tbody>
              {value.venues.map((venue) => (
                <VenueRow key={venue.exchange} venue={venue} inCluster={value.cluster !== null} isCurrent={isCurrent} />
              ))}
            </tbody>
          </table>
        </Scroller>
      </section>
      <Clients status={value} isCurrent={isCurrent} />
      {value.cluster !== null && <Cluster cluster={value.cluster} isCurrent={isCurrent} />}
      <StatsPanel title="This gateway" />
      <p className="sw-quiet about">
        spreadwire <Name>{value.process.version}</Name>, instance <Name>{value.process.instance}</Name> on{' '}
        <Name>{value.process.hostname}</Name>. <a href="api">All paths</a>, <a href="metrics">metrics</a>.
      </p>
    </div>
  )
}

const COLUMNS = ['Exchange', 'Connection', 'Data', 'Source', 'Last bytes', 'Clock offset', 'Score', 'Reconnects', 'Silences', 'Fee']

const CONNECTION: ReadonlyMap<string, Tone> = new Map([
  ['connected', 'good'],
  ['connecting', 'info'],
  ['reconnecting', 'warn'],
])
const DATA: ReadonlyMap<string, Tone> = new Map([
  ['fresh', 'good'],
  ['partial', 'warn'],
  ['none', 'bad'],
])

/** What lowered the score of an exchange, for its tooltip. */
const faults = ({ feedFaults = {} }: VenueStatus): string => {
  const lost = Object.entries(feedFaults).filter(([, points]) => points > 0)
  return lost.length === 0 ? 'no faults lately' : lost.map(([kind, points]) => `${tamed(kind, 16)} ${points}`).join(', ')
}

function VenueRow({ venue, inCluster, isCurrent }: { venue: VenueStatus; inCluster: boolean; isCurrent: boolean }) {
  // A report that is not current is not green and is labelled.
  const tone = (own: Tone | undefined): Tone => (isCurrent ? (own ?? 'plain') : 'plain')
  const said = (text: string, max: number) => (isCurrent ? tamed(text, max) : `was ${tamed(text, max)}`)
  return (
    <tr>
      <th scope="row">
        <Name>{venue.exchange}</Name>
      </th>
      <td>
        <Pill tone={tone(CONNECTION.get(venue.state) ?? 'bad')}>{said(venue.state, 24)}</Pill>
        {venue.circuitBreaker && venue.circuitBreaker.state !== 'closed' && (
          <Pill tone="warn">rests: {tamed(venue.circuitBreaker.state, 16)}</Pill>
        )}
        {isCurrent && venue.connectedMs !== null && venue.state === 'connected' && <small> {duration(venue.connectedMs)}</small>}
        {isCurrent && venue.nextAttemptMs != null && <small> next attempt in {duration(venue.nextAttemptMs)}</small>}
      </td>
      <td>
        <Pill tone={tone(DATA.get(venue.data))}>{said(venue.data, 12)}</Pill>{' '}
        <small className="sw-num">
          {venue.freshPairs}/{venue.quotedPairs}
        </small>
        {venue.quoteLagMs !== undefined && (
          <>
            {' '}
            <Pill tone={tone('bad')}>{said(`${duration(venue.quoteLagMs)} late`, 24)}</Pill>
          </>
        )}
        {venue.quarantinedMs !== undefined && (
          <>
            {' '}
            <Pill tone={tone('bad')}>{said(`quarantined ${duration(venue.quarantinedMs)}`, 24)}</Pill>
          </>
        )}
        {venue.level !== undefined && venue.level !== 'websocket' && (
          <>
            {' '}
            <Pill tone={venue.level === 'shared' ? 'info' : 'bad'}>{tamed(venue.level.replaceAll('_', ' '), 16)}</Pill>
          </>
        )}
      </td>
      <td>{venue.source === null ? '–' : <Pill tone={tone(sourceTone(venue.source))}>{tamed(venue.source, 16)}</Pill>}</td>
      <td className="sw-num">{venue.lastBytesMs === null || !isCurrent ? '–' : duration(venue.lastBytesMs)}</td>
      <td className="sw-num">{venue.clockOffsetMs === null ? '–' : `${fixed(venue.clockOffsetMs, 1)} ms`}</td>
      <td className="sw-num" title={faults(venue)}>
        {venue.feedScore === undefined ? '–' : venue.feedScore}
      </td>
      <td className="sw-num">{short(venue.reconnects)}</td>
      <td className="sw-num">{short(venue.silences)}</td>
      <td className="sw-num">{venue.takerFeePct}%</td>
      {inCluster && (
        <td>
          <Pill tone={tone(venue.role === 'leader' ? 'good' : 'info')}>{said(venue.role ?? 'none', 16)}</Pill>
          {venue.leader && venue.role !== 'leader' && (
            <small>
              {' '}
              of <Name max={40}>{venue.leaderHostname ?? venue.leader}</Name>
              {venue.lagMs !== undefined && `, ${duration(venue.lagMs)} behind`}
            </small>
          )}
        </td>
      )}
      <td className="error">
        {venue.lastError === null ? <span className="sw-quiet">none</span> : <Name max={160}>{venue.lastError}</Name>}
      </td>
    </tr>
  )
}

function Clients({ status, isCurrent }: { status: Status; isCurrent: boolean }) {
  const { gateway, timestamp } = status
  const out = useRate(gateway.bytes, timestamp)
  return (
    <section className="box" aria-labelledby="clients-title">
      <div className="bar">
        <h2 id="clients-title">Clients</h2>
      </div>
      <dl className="sw-tiles">
        <Tile name="WebSocket clients" value={short(gateway.clients)} note={`of ${short(status.limits.clientsMax)}`} />
        <Tile name="Event streams" value={short(gateway.streams)} />
        <Tile name="Pairs subscribed" value={short(gateway.subscriptions)} />
        <Tile name="Bytes sent" value={bytes(gateway.bytes)} note={out === undefined || !isCurrent ? '' : `${bytes(out)}/s`} />
        <Tile name="Prices sent" value={short(gateway.prices)} />
        <Tile name="Alerts sent" value={short(gateway.alerts)} />
        <Tile name="Prices conflated" value={short(gateway.conflated)} />
        <Tile name="Closed as too slow" value={short(gateway.slowClosed)} />
        <Tile name="Closed for misbehaving" value={short(gateway.misbehavedClosed)} />
        <Tile name="Requests answered" value={short(gateway.requests)} />
        <Tile name="Rejected at a limit" value={short(gateway.refused)} />
      </dl>
    </section>
  )
}

function Cluster({ cluster, isCurrent }: { cluster: ClusterStatus; isCurrent: boolean }) {
  const { circuitBreaker, lastError, leads, members } = cluster
  return (
    <section className="box" aria-labelledby="cluster-title">
      <div className="bar">
        <h2 id="cluster-title">Cluster</h2>
        <Pill tone={!isCurrent ? 'plain' : cluster.redis === 'connected' ? 'good' : 'bad'}>
          Redis {isCurrent ? '' : 'was '}
          {tamed(cluster.redis, 24)}
        </Pill>
      </div>
      <dl className="sw-tiles">
        <Tile name="Instances" value={short(members.length)} />
        <Tile name="Exchanges led here" value={short(leads.length)} />
        <Tile name="Redis round trip" value={`${fixed(cluster.roundTripMs, 1)} ms`} />
        <Tile name="Redis for" value={cluster.redisSinceMs === null ? '–' : duration(cluster.redisSinceMs)} />
        <Tile
          name="Circuit breaker"
          value={tamed(circuitBreaker.state.replaceAll('_', ' '), 16)}
          note={`${short(circuitBreaker.failureCount)} failures`}
        />
      </dl>
      <p className="sw-quiet">
        This is <Name>{cluster.instance}</Name>, of <Name max={400}>{members.join(', ')}</Name>.
        {leads.length > 0 && (
          <>
            {' '}
            It leads <Name max={400}>{leads.join(', ')}</Name>.
          </>
        )}
      </p>
      {lastError !== null && (
        <p className="sw-down">
          <Name max={200}>{lastError}</Name>
        </p>
      )}
    </section>
  )
}
