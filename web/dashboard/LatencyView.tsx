// Latency, rates and losses.

import { useEffect, useRef, useState } from 'react'
import { LatencyChart } from '../src/react/index.js'
import type { Latency, Reasons, StageTurns, Status, VenueStatus } from '../src/core/reports.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { Name, NotCurrent, Scroller } from '../src/react/components/parts.js'
import { Tile } from '../src/react/components/StatsPanel.js'
import { TimeChart } from '../src/react/components/TimeChart.js'
import { useRate } from '../src/react/components/useRate.js'
import { bytes, latency as time, short } from '../src/react/components/text.js'
import { Choice } from './InstrumentView.js'
import { Columns } from './Columns.js'

const ALL = 'all exchanges'

export function LatencyView() {
  const { value: status, problem } = useReport<Status>('/api/status', { everyMs: 1000 })
  const { value: latency } = useReport<Latency>('/api/latency', { everyMs: 2000 })
  const [by, setBy] = useState<'stage' | 'venue'>('stage')
  const [exchange, setExchange] = useState(ALL)
  const hops = (latency?.hops ?? []).filter((hop) => hop.all.count > 0)
  const [hopName, setHop] = useState('')
  const hop = hops.find((one) => one.hop === hopName) ?? hops[0]
  const exchanges = status?.venues.map((venue) => venue.exchange) ?? []
  return (
    <div className="stack">
      <section className="box" aria-labelledby="latency-title">
        <div className="bar">
          <h2 id="latency-title">Latency since the start</h2>
          <fieldset className="switch">
            <legend className="sw-spoken">Compare</legend>
            <label>
              <input type="radio" name="by" checked={by === 'stage'} onChange={() => setBy('stage')} /> stages
            </label>
            <label>
              <input type="radio" name="by" checked={by === 'venue'} onChange={() => setBy('venue')} /> exchanges
            </label>
          </fieldset>
          {by === 'stage' ? (
            <Choice end label="Exchange" value={exchange} options={[ALL, ...exchanges]} onChange={setExchange} />
          ) : (
            <Choice end label="Stage" value={hop?.hop ?? ''} options={hops.map((one) => one.hop)} onChange={setHop} />
          )}
        </div>
        {by === 'venue' && hop && (
          <p className="sw-quiet">
            From {hop.from} to {hop.to}.
          </p>
        )}
        <LatencyChart hop={by === 'venue' ? hop?.hop : undefined} exchange={exchange === ALL ? undefined : exchange} />
      </section>
      {latency?.stages && latency.stages.length > 0 && <Turns stages={latency.stages} />}
      {status && <Throughput status={status} problem={problem} />}
      {status && <Losses status={status} />}
    </div>
  )
}

function Turns({ stages }: { stages: readonly StageTurns[] }) {
  return (
    <section className="box" aria-labelledby="turns-title">
      <div className="bar">
        <h2 id="turns-title">Turns of the threads</h2>
      </div>
      <p className="sw-quiet">A stopped process or a busy core shows as an overrun: time slept beyond what was meant.</p>
      <Scroller label="Turns by stage">
        <table className="sw-plain">
          <Columns names={['Stage', 'Turns', 'Turn p50', 'Turn p99', 'Longest turn', 'Overrun p99', 'Longest overrun', 'Above 100 ms']} />
          <tbody>
            {stages.map(({ stage, turn, overrun, stalls }) => (
              <tr key={stage}>
                <th scope="row">{stage}</th>
                <td className="sw-num">{short(turn.count)}</td>
                <td className="sw-num">{time(turn.p50)}</td>
                <td className="sw-num">{time(turn.p99)}</td>
                <td className="sw-num">{time(turn.max)}</td>
                <td className="sw-num">{time(overrun.p99)}</td>
                <td className="sw-num">{time(overrun.max)}</td>
                <td className="sw-num">{short(stalls)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroller>
    </section>
  )
}

function Throughput({ status, problem }: { status: Status; problem: string | null }) {
  const isCurrent = problem === null
  const at = status.timestamp
  const sum = (read: (venue: VenueStatus) => number) => status.venues.reduce((all, venue) => all + read(venue), 0)
  const frames = useRate(
    sum((venue) => venue.frames),
    at,
  )
  const bytesIn = useRate(
    sum((venue) => venue.bytes),
    at,
  )
  const quotes = useRate(status.detector.quotes, at)
  const prices = useRate(status.gateway.prices, at)
  const bytesOut = useRate(status.gateway.bytes, at)
  const newest = useRef<readonly (number | null)[]>([null, null])
  useEffect(() => {
    newest.current = isCurrent ? [quotes ?? null, prices ?? null] : [null, null]
  })
  const rate = (value: number | undefined) => (value === undefined || !isCurrent ? undefined : `${short(Math.round(value))}/s`)
  return (
    <section className="box" aria-labelledby="throughput-title">
      <div className="bar">
        <h2 id="throughput-title">Throughput</h2>
      </div>
      <NotCurrent problem={problem} />
      <dl className="sw-tiles">
        <Tile name="Frames in" value={rate(frames)} />
        <Tile name="Quotes in" value={rate(quotes)} />
        <Tile name="Bytes in" value={bytesIn === undefined || !isCurrent ? undefined : `${bytes(bytesIn)}/s`} />
        <Tile name="Prices out" value={rate(prices)} />
        <Tile name="Bytes out" value={bytesOut === undefined || !isCurrent ? undefined : `${bytes(bytesOut)}/s`} />
        <Tile name="Opportunities opened" value={short(status.detector.opened)} />
      </dl>
      <TimeChart
        label="Quotes in and prices out a second over time"
        lines={['quotes in', 'prices out']}
        sample={() => newest.current}
        format={(value) => `${short(Math.round(value))}/s`}
        stepMs={1000}
        windowMs={300_000}
        height={160}
      />
    </section>
  )
}

function Losses({ status }: { status: Status }) {
  return (
    <section className="box" aria-labelledby="losses-title">
      <div className="bar">
        <h2 id="losses-title">Conflated and dropped</h2>
      </div>
      <dl className="sw-tiles">
        <Tile name="Prices conflated for slow clients" value={short(status.gateway.conflated)} />
        <Tile name="Quotes conflated in full rings" value={short(status.venues.reduce((all, venue) => all + venue.ringConflated, 0))} />
        <Tile name="Events lost by full rings" value={short(status.detector.eventsLost)} />
        <Tile
          name="Ring fill, peak of the last second"
          value={short(status.detector.ringPeak)}
          note={`of ${short(status.detector.ringSize)}`}
        />
        <Tile name="Slow clients closed" value={short(status.gateway.slowClosed)} />
      </dl>
      <Scroller label="Losses by exchange">
        <table className="sw-plain">
          <Columns names={['Exchange', 'Frames', 'Quotes', 'Ring conflated', 'Dropped', 'Undecodable']} />
          <tbody>
            {status.venues.map((venue) => (
              <tr key={venue.exchange}>
                <th scope="row">
                  <Name>{venue.exchange}</Name>
                </th>
                <td className="sw-num">{short(venue.frames)}</td>
                <td className="sw-num">{short(venue.quotes)}</td>
                <td className="sw-num">{short(venue.ringConflated)}</td>
                <ByReason reasons={venue.dropped} />
                <ByReason reasons={venue.decodeErrors} />
              </tr>
            ))}
          </tbody>
        </table>
      </Scroller>
    </section>
  )
}

function ByReason({ reasons }: { reasons: Reasons }) {
  const counts = Object.entries(reasons).filter(([, count]) => count > 0)
  return (
    <td className="sw-num">
      {short(Object.values(reasons).reduce((sum, count) => sum + count, 0))}
      {counts.length > 0 && <small className="reasons">{counts.map(([reason, count]) => `${reason} ${short(count)}`).join(', ')}</small>}
    </td>
  )
}
