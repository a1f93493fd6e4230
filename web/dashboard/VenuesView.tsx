// The exchanges, the clients and the cluster, as the operator sees them.

import { StatsPanel, usePage } from '../src/react/index.js'
import type { Status, VenueStatus } from '../src/react/index.js'
import { Name, Pill, Scroller, sourceTone } from '../src/react/components/parts.js'
import type { Tone } from '../src/react/components/parts.js'
import { Tile } from '../src/react/components/StatsPanel.js'
import { useRate } from '../src/react/components/useRate.js'
import { bytes, duration, fixed, short, tamed } from '../src/react/components/text.js'

export function VenuesView() {
  const { value } = usePage<Status>('/api/status', { everyMs: 1000 })
  if (!value) return <p className="sw-quiet sw-empty">Waiting for the gateway…</p>
  return (
    <div className="stack">
      <section className="box" aria-labelledby="venues-title">
        <div className="bar">
          <h2 id="venues-title">Exchanges</h2>
          <span className="sw-quiet">
            {value.venues.filter((venue) => venue.state === 'connected').length} of {value.venues.length} connected
          </span>
        </div>
        <Scroller label="Exchanges">
          <table className="sw-plain venues">
            <thead>
              <tr>
                {['Exchange', 'Connection', 'Data', 'Source', 'Last bytes', 'Clock offset', 'Reconnects', 'Silences', 'Fee', 'Last error'].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {value.venues.map((venue) => (
                <VenueRow key={venue.exchange} venue={venue} />
              ))}
            </tbody>
          </table>
        </Scroller>
      </section>
      <Clients status={value} />
      {value.cluster !== null && <Cluster cluster={value.cluster} />}
      <StatsPanel title="This gateway" />
      <p className="sw-quiet about">
        spreadwire <Name>{value.process.version}</Name>, instance <Name>{value.process.instance}</Name> on <Name>{value.process.hostname}</Name>.{' '}
        <a href="/api">All that can be asked</a>, <a href="/metrics">metrics</a>.
      </p>
    </div>
  )
}

const CONNECTION: Readonly<Record<string, Tone>> = { connected: 'good', connecting: 'info', reconnecting: 'warn' }
const DATA: Readonly<Record<string, Tone>> = { fresh: 'good', partial: 'warn', none: 'bad' }

function VenueRow({ venue }: { venue: VenueStatus }) {
  return (
    <tr>
      <th scope="row">
        <Name>{venue.exchange}</Name>
      </th>
      <td>
        <Pill tone={CONNECTION[venue.state] ?? 'bad'}>{tamed(venue.state, 24)}</Pill>
        {venue.connectedMs !== null && venue.state === 'connected' && <small> {duration(venue.connectedMs)}</small>}
      </td>
      <td>
        <Pill tone={DATA[venue.data] ?? 'plain'}>{tamed(venue.data, 12)}</Pill>{' '}
        <small className="sw-num">
          {venue.freshPairs}/{venue.quotedPairs}
        </small>
      </td>
      <td>{venue.source === null ? '–' : <Pill tone={sourceTone(venue.source)}>{tamed(venue.source, 16)}</Pill>}</td>
      <td className="sw-num">{venue.lastBytesMs === null ? '–' : duration(venue.lastBytesMs)}</td>
      <td className="sw-num">{venue.clockOffsetMs === null ? '–' : `${fixed(venue.clockOffsetMs, 1)} ms`}</td>
      <td className="sw-num">{short(venue.reconnects)}</td>
      <td className="sw-num">{short(venue.silences)}</td>
      <td className="sw-num">{venue.takerFeePct}%</td>
      <td className="error">{venue.lastError === null ? <span className="sw-quiet">none</span> : <Name max={160}>{venue.lastError}</Name>}</td>
    </tr>
  )
}

function Clients({ status }: { status: Status }) {
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
        <Tile name="Bytes sent" value={bytes(gateway.bytes)} note={out === undefined ? '' : `${bytes(out)}/s`} />
        <Tile name="Prices sent" value={short(gateway.prices)} />
        <Tile name="Alerts sent" value={short(gateway.alerts)} />
        <Tile name="Prices conflated" value={short(gateway.conflated)} />
        <Tile name="Closed as too slow" value={short(gateway.slowClosed)} />
        <Tile name="Closed for misbehaving" value={short(gateway.misbehavedClosed)} />
        <Tile name="Requests answered" value={short(gateway.requests)} />
        <Tile name="Refused at a limit" value={short(gateway.refused)} />
      </dl>
    </section>
  )
}

/** Whatever the gateway tells of its cluster, member by member. */
function Cluster({ cluster }: { cluster: Readonly<Record<string, unknown>> }) {
  return (
    <section className="box" aria-labelledby="cluster-title">
      <div className="bar">
        <h2 id="cluster-title">Cluster</h2>
      </div>
      <dl className="sw-tiles">
        {Object.entries(cluster).map(([name, value]) => (
          <Tile key={name} name={words(name)} value={tamed(told(name, value), 60)} />
        ))}
      </dl>
    </section>
  )
}

const words = (name: string) => name.replace(/Ms$/, '').replace(/([A-Z])/g, ' $1').toLowerCase().replace(/^./, (letter) => letter.toUpperCase())

function told(name: string, value: unknown): string {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'number') return name.endsWith('Ms') ? duration(value) : short(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
