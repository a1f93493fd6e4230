// Opportunities: those that are open, with all that decides whether to act, and those that were.

import type { Opportunity } from '../../core/types.js'
import { Name, Pill, Route, Ticking } from './parts.js'
import { clock, duration, money, percent, short } from './text.js'

export interface OpportunityTableProps {
  /** For example of `useOpportunities(symbols).open`. */
  opportunities: readonly Opportunity[]
  /** `open`: ages and time run on. `closed`: their peak, and when they ended. Default `open`. */
  kind?: 'open' | 'closed'
  /** Called with an opportunity that was chosen. */
  onChoose?: ((opportunity: Opportunity) => void) | undefined
  /** What is shown when there are none. */
  empty?: string
  /** What the table is, for screen readers. */
  label?: string
}

/** When this page first saw the state of an opportunity: ages go on from there, whatever its clock says. */
const seen = new WeakMap<Opportunity, number>()

function sinceSeen(opportunity: Opportunity, now: number): number {
  const first = seen.get(opportunity)
  if (first !== undefined) return Math.max(0, now - first)
  seen.set(opportunity, now)
  return 0
}

export function OpportunityTable({ opportunities, kind = 'open', onChoose, empty, label }: OpportunityTableProps) {
  const isOpen = kind === 'open'
  if (opportunities.length === 0) {
    return <p className="sw sw-quiet sw-empty">{empty ?? (isOpen ? 'No opportunity is open now.' : 'None has closed yet.')}</p>
  }
  return (
    <div className="sw sw-fit">
      <table className="sw-opportunities" role="table" aria-label={label ?? (isOpen ? 'Open opportunities' : 'Closed opportunities')}>
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader" scope="col">Instrument</th>
            <th role="columnheader" scope="col">Buy → sell</th>
            <th role="columnheader" scope="col">{isOpen ? 'Gross' : 'Peak'}</th>
            <th role="columnheader" scope="col">{isOpen ? 'Net' : 'Last net'}</th>
            <th role="columnheader" scope="col">Size</th>
            <th role="columnheader" scope="col">Prices</th>
            <th role="columnheader" scope="col">{isOpen ? 'Ages' : 'Closed at'}</th>
            <th role="columnheader" scope="col">Lived</th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {opportunities.map((opportunity) =>
            isOpen ? (
              <OpenRow key={opportunity.id} opportunity={opportunity} onChoose={onChoose} />
            ) : (
              <ClosedRow key={opportunity.id} opportunity={opportunity} onChoose={onChoose} />
            ),
          )}
        </tbody>
      </table>
    </div>
  )
}

interface RowProps {
  opportunity: Opportunity
  onChoose: ((opportunity: Opportunity) => void) | undefined
}

function OpenRow({ opportunity, onChoose }: RowProps) {
  const { buyAgeMs, sellAgeMs, livedMs } = opportunity
  const since = (now: number) => sinceSeen(opportunity, now)
  return (
    <tr role="row">
      <Head opportunity={opportunity} onChoose={onChoose} />
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
    </tr>
  )
}

function ClosedRow({ opportunity, onChoose }: RowProps) {
  return (
    <tr role="row" className="sw-closed">
      <Head opportunity={opportunity} onChoose={onChoose} />
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
    </tr>
  )
}

function Head({ opportunity, onChoose }: RowProps) {
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
