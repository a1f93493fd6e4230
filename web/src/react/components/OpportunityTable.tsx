// A table of open or closed opportunities. The opportunities of one event share a row, which can be expanded.

import { useState } from 'react'
import { eventsOf } from '../../core/events.js'
import type { Opportunity } from '../../core/types.js'
import { Name, Pill, Route, Ticking, type Tone } from './parts.js'
import { clock, duration, money, percent, short, tamed } from './text.js'

export interface OpportunityTableProps {
  /** For example `useOpportunities(symbols).open`. */
  opportunities: readonly Opportunity[]
  /** `open` shows ages and durations; `closed` shows the peak and the time of the end. Default `open`. */
  kind?: 'open' | 'closed'
  /** Called with the selected opportunity. */
  onChoose?: ((opportunity: Opportunity) => void) | undefined
  /** Number of events shown; default all. */
  eventsMax?: number
  /** Content of an empty table. */
  empty?: string
  /** Label of the table for screen readers. */
  label?: string
}

/** Why an opportunity closed, as in docs/protocol.md. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['buy_moved', 'ask rose'],
  ['sell_moved', 'bid fell'],
  ['both_moved', 'both prices moved'],
  ['collapsed', 'one exchange was behind the market'],
  ['leg_stale', 'a quote became too old'],
  ['leg_void', 'a quote no longer holds'],
  ['quarantined', 'a price is not believed'],
  ['standing_basis', 'the spread usually stands there'],
  ['venue_lost', 'connection to an exchange lost'],
  ['lagging_venue', 'an exchange fell behind'],
  ['lagging_own', 'the gateway fell behind'],
  ['not_trading', 'trading halted'],
  ['never_coexisted', 'the legs never existed together'],
  ['removed', 'no longer quoted'],
  ['shutdown', 'the gateway stopped'],
  ['unknown', 'the end was not seen'],
])

/** What a proof means, as in docs/proof.md. */
const PROOFS: ReadonlyMap<string, { tone: Tone; meaning: string }> = new Map([
  ['proven', { tone: 'good', meaning: 'both legs existed together' }],
  ['likely', { tone: 'info', meaning: 'no message has shown yet that both legs existed together' }],
  ['unproven', { tone: 'plain', meaning: 'a leg has neither a timestamp nor a witness' }],
  ['refuted', { tone: 'bad', meaning: 'one leg had moved before the other began' }],
])

/** When this page first received the state of an opportunity. Ages are counted from then, independent of the wall clock. */
const seen = new WeakMap<Opportunity, number>()

function sinceSeen(opportunity: Opportunity, now: number): number {
  const first = seen.get(opportunity)
  if (first !== undefined) return Math.max(0, now - first)
  seen.set(opportunity, now)
  return 0
}

export function OpportunityTable({ opportunities, kind = 'open', onChoose, eventsMax = Infinity, empty, label }: OpportunityTableProps) {
  const isOpen = kind === 'open'
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set())
  const fold = (id: string) => setUnfolded((known) => new Set(known.has(id) ? [...known].filter((other) => other !== id) : [...known, id]))
  const Row = isOpen ? OpenRow : ClosedRow
  if (opportunities.length === 0) {
    return <p className="sw sw-quiet sw-empty">{empty ?? (isOpen ? 'No opportunity is open now.' : 'None has closed yet.')}</p>
  }
  return (
    <div className="sw sw-fit">
      <table className="sw-opportunities" role="table" aria-label={label ?? (isOpen ? 'Open opportunities' : 'Closed opportunities')}>
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader" scope="col">
              Instrument
            </th>
            <th role="columnheader" scope="col">
              Buy → sell
            </th>
            <th role="columnheader" scope="col">
              {isOpen ? 'Gross' : 'Peak'}
            </th>
            <th role="columnheader" scope="col">
              {isOpen ? 'Net' : 'Last net'}
            </th>
            <th role="columnheader" scope="col">
              Size
            </th>
            <th role="columnheader" scope="col">
              Prices
            </th>
            <th role="columnheader" scope="col">
              {isOpen ? 'Ages' : 'Closed at'}
            </th>
            <th role="columnheader" scope="col">
              Lived
            </th>
            <th role="columnheader" scope="col" title="How much later than usual the quotes arrived, buy and sell">
              Lag
            </th>
            <th role="columnheader" scope="col">
              Proof
            </th>
            {!isOpen && (
              <th role="columnheader" scope="col">
                Ended because
              </th>
            )}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {eventsOf(opportunities)
            .slice(0, eventsMax)
            .map(({ id, best, all }) => [
              <Row
                key={id}
                opportunity={best}
                onChoose={onChoose}
                group={all.length > 1 ? { others: all.length - 1, isUnfolded: unfolded.has(id), fold: () => fold(id) } : undefined}
              />,
              ...(unfolded.has(id) ? all.slice(1) : []).map((one) => (
                <Row key={`${id} ${one.id}`} opportunity={one} onChoose={onChoose} isPart />
              )),
            ])}
        </tbody>
      </table>
    </div>
  )
}

interface RowProps {
  opportunity: Opportunity
  onChoose: ((opportunity: Opportunity) => void) | undefined
  /** The other opportunities of its event, if any. */
  group?: { others: number; isUnfolded: boolean; fold: () => void } | undefined
  /** Whether it is one of the other opportunities of an event. */
  isPart?: boolean
}

function OpenRow({ opportunity, onChoose, group, isPart = false }: RowProps) {
  const { buyAgeMs, sellAgeMs, livedMs } = opportunity
  const since = (now: number) => sinceSeen(opportunity, now)
  return (
    <tr role="row" className={isPart ? 'sw-part' : undefined}>
      <Head opportunity={opportunity} onChoose={onChoose} group={group} />
      <td role="cell" data-label="Gross" className="sw-num">
        <b>{percent(opportunity.spreadPct)}</b>
        {opportunity.peakSpreadPct > opportunity.spreadPct && <small> peak {percent(opportunity.peakSpreadPct)}</small>}
      </td>
      <Net value={opportunity.netSpreadPct} label="Net" />
      <Figures opportunity={opportunity} />
      <td role="cell" data-label="Ages" className="sw-num sw-both">
        <Ticking text={(now) => `${duration(buyAgeMs + since(now))} / ${duration(sellAgeMs + since(now))}`} />
      </td>
      <td role="cell" data-label="Lived" className="sw-num">
        <Ticking text={(now) => duration(livedMs + since(now))} />
      </td>
      <Evidence opportunity={opportunity} />
    </tr>
  )
}

function ClosedRow({ opportunity, onChoose, group, isPart = false }: RowProps) {
  return (
    <tr role="row" className={isPart ? 'sw-closed sw-part' : 'sw-closed'}>
      <Head opportunity={opportunity} onChoose={onChoose} group={group} />
      <td role="cell" data-label="Peak" className="sw-num">
        <b>{percent(opportunity.peakSpreadPct)}</b>
      </td>
      <Net value={opportunity.netSpreadPct} label="Last net" />
      <Figures opportunity={opportunity} />
      <td role="cell" data-label="Closed at" className="sw-num sw-both">
        <time dateTime={new Date(opportunity.timestamp).toISOString()}>{clock(opportunity.timestamp)}</time>
      </td>
      <td role="cell" data-label="Lived" className="sw-num">
        {duration(opportunity.livedMs)}
      </td>
      <Evidence opportunity={opportunity} />
      <td role="cell" data-label="Ended because" className="sw-why">
        {opportunity.reason === undefined ? '–' : (REASONS.get(opportunity.reason) ?? tamed(opportunity.reason.replaceAll('_', ' '), 40))}
        {opportunity.class !== undefined && ` · ${tamed(opportunity.class.replaceAll('_', ' '), 20)}`}
      </td>
    </tr>
  )
}

function Head({ opportunity, onChoose, group }: RowProps) {
  return (
    <>
      <th role="rowheader" scope="row">
        {onChoose ? (
          <button type="button" className="sw-link" onClick={() => onChoose(opportunity)}>
            <Name>{opportunity.symbol}</Name>
          </button>
        ) : (
          <Name>{opportunity.symbol}</Name>
        )}
        {opportunity.source !== 'live' && (
          <>
            {' '}
            <Pill tone="warn">
              <Name max={12}>{opportunity.source}</Name>
            </Pill>
          </>
        )}
      </th>
      <td role="cell" data-label="Buy → sell" className="sw-where">
        <Route from={opportunity.buyExchange} to={opportunity.sellExchange} />
        {group && ' '}
        {group && (
          <button type="button" className="sw-link sw-others" aria-expanded={group.isUnfolded} onClick={group.fold}>
            {group.isUnfolded ? 'fewer' : `and ${group.others} more`}
          </button>
        )}
      </td>
    </>
  )
}

function Net({ value, label }: { value: number; label: string }) {
  return (
    <td role="cell" data-label={label} className={`sw-num ${value > 0 ? 'sw-up' : 'sw-down'}`}>
      {percent(value)}
    </td>
  )
}

function Figures({ opportunity }: { opportunity: Opportunity }) {
  const { symbol, executableSize, buyPrice, sellPrice } = opportunity
  return (
    <>
      <td role="cell" data-label="Size" className="sw-num">
        {short(executableSize)} <Name max={12}>{symbol.split('/')[0] ?? ''}</Name>
      </td>
      <td role="cell" data-label="Prices" className="sw-num sw-both">
        {money(symbol, buyPrice, 2)} → {money(symbol, sellPrice, 2)}
      </td>
    </>
  )
}

/** The lag of both legs, and whether both existed together. Earlier gateways send neither. */
function Evidence({ opportunity }: { opportunity: Opportunity }) {
  const { proof, proofMs, proofErrorMs, buyExcessLagMs, sellExcessLagMs } = opportunity
  const lag = (ms?: number | null) => (typeof ms === 'number' ? duration(ms) : '–')
  const known = proof === undefined ? undefined : PROOFS.get(proof)
  const length = typeof proofMs === 'number' ? `, for ${duration(proofMs)} at least` : ''
  const error = typeof proofErrorMs === 'number' ? `; error of the clocks ${duration(proofErrorMs)}` : ''
  return (
    <>
      <td role="cell" data-label="Lag" className="sw-num sw-lag">
        {lag(buyExcessLagMs)} / {lag(sellExcessLagMs)}
      </td>
      <td role="cell" data-label="Proof" className="sw-proof">
        {proof === undefined ? (
          '–'
        ) : (
          <Pill tone={known?.tone ?? 'plain'} title={`${known?.meaning ?? tamed(proof, 20)}${length}${error}`}>
            {tamed(proof, 20)}
            {length && ` ${duration(proofMs!)}`}
          </Pill>
        )}
      </td>
    </>
  )
}
