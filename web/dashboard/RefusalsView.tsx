// Why spreads above the threshold are not alerted.

import { useState } from 'react'
import type { Instruments, Refusals, RefusedCandidate } from '../src/core/reports.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { Name, NotCurrent, Route, Scroller } from '../src/react/components/parts.js'
import { Tile } from '../src/react/components/StatsPanel.js'
import { fixed, short, tamed } from '../src/react/components/text.js'
import { Choice } from './InstrumentView.js'
import { Columns } from './Columns.js'

const ALL = 'all symbols'

/** What each reason means, in the order in which they are checked. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['not_trading', 'trading halted'],
  ['stale_leg', 'a quote is too old'],
  ['void_leg', 'a quote no longer holds'],
  ['one_sided', 'a quote without a side'],
  ['crossed_leg', 'a bid above its ask'],
  ['suspect_jump', 'a price jumped'],
  ['reconnect', 'a new connection'],
  ['lagging_own', 'the gateway is behind'],
  ['lagging_venue', 'an exchange is late'],
  ['quarantined', 'an exchange is in quarantine'],
  ['identity', 'perhaps another asset'],
  ['implausible', 'implausibly large'],
  ['standing_basis', 'it usually stands there'],
  ['fees', 'the fees take it'],
  ['not_coexistent', 'too little proof'],
])

/** The meaning of a reason. Unknown reasons of later gateways are returned unchanged. */
export const meaning = (reason: string) => REASONS.get(reason) ?? tamed(reason)

/** The figure that was compared, with its limit. */
export function figure({ value, limit, unit }: RefusedCandidate): string {
  if (value === undefined || limit === undefined) return ''
  return unit === 'ms' ? `${fixed(value / 1000, 1)} of ${fixed(limit / 1000, 1)} s` : `${fixed(value, 2)} of ${fixed(limit, 2)}%`
}

export function RefusalsView({ asked }: { asked: string }) {
  const { value: listed } = useReport<Instruments>('/api/instruments', { everyMs: 10_000 })
  const symbols = listed?.instruments.map((one) => one.symbol) ?? []
  const [chosen, choose] = useState(asked)
  const symbol = symbols.includes(chosen) ? chosen : ALL
  const path = symbol === ALL ? '/api/refusals' : `/api/refusals?symbol=${encodeURIComponent(symbol)}`
  const { value, problem } = useReport<Refusals>(path, { everyMs: 1000 })
  const counts = Object.entries(value?.reasons ?? {}).filter(([, count]) => count > 0)
  return (
    <div className="stack">
      <section className="box" aria-labelledby="refusals-title">
        <div className="bar">
          <h2 id="refusals-title">Why not: refusals since the start</h2>
          <Choice end label="Symbol" value={symbol} options={[ALL, ...symbols]} onChange={choose} />
        </div>
        <NotCurrent problem={problem} />
        {counts.length === 0 && <p className="sw-quiet">{value ? 'No spread above the threshold was refused.' : 'Not known yet.'}</p>}
        <dl className="sw-tiles">
          {counts.map(([reason, count]) => (
            <Tile key={reason} name={meaning(reason)} value={short(count)} note={tamed(reason)} />
          ))}
        </dl>
      </section>
      {value && (
        <>
          <Candidates id="refused-now" title="Refused now" all={value.current} empty="Nothing is refused now." />
          <Candidates id="refused-last" title="Last examples" all={value.examples} empty="There is no example." />
        </>
      )}
    </div>
  )
}

/** Most rows of a table. */
const ROWS_MAX = 100

function Candidates({ id, title, all, empty }: { id: string; title: string; all: readonly RefusedCandidate[]; empty: string }) {
  return (
    <section className="box" aria-labelledby={id}>
      <div className="bar">
        <h2 id={id}>{title}</h2>
        {all.length > ROWS_MAX && (
          <span className="sw-quiet">
            {ROWS_MAX} of {short(all.length)}
          </span>
        )}
      </div>
      {all.length === 0 ? (
        <p className="sw-quiet">{empty}</p>
      ) : (
        <Scroller label={title}>
          <table className="sw-plain">
            <Columns names={['Symbol', 'Route', 'Spread', 'Net', 'Why', 'Leg', 'Figure', 'At']} />
            <tbody>
              {all.slice(0, ROWS_MAX).map((one) => (
                <tr key={`${one.symbol} ${one.buyExchange} ${one.sellExchange} ${one.reason} ${one.since}`}>
                  <th scope="row">
                    <Name>{one.symbol}</Name>
                  </th>
                  <td>
                    <Route from={one.buyExchange} to={one.sellExchange} />
                  </td>
                  <td className="sw-num">{fixed(one.spreadPct, 2)}%</td>
                  <td className="sw-num">{fixed(one.netSpreadPct, 2)}%</td>
                  <td title={tamed(one.reason)}>{meaning(one.reason)}</td>
                  <td>
                    {one.leg === undefined ? '' : one.leg === 'buy' ? <Name>{one.buyExchange}</Name> : <Name>{one.sellExchange}</Name>}
                  </td>
                  <td className="sw-num">{figure(one)}</td>
                  <td className="sw-num">{new Date(one.timestamp).toLocaleTimeString()}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroller>
      )}
    </section>
  )
}
