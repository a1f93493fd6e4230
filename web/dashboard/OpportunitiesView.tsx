// Open and closed opportunities, and notifications of new ones.

import { useEffect, useMemo, useRef } from 'react'
import { OpportunityTable, PrecisionTable, SurvivalChart, useOpportunities } from '../src/react/index.js'
import type { Opportunities, Opportunity } from '../src/react/index.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { fixed, tamed } from '../src/react/components/text.js'
import { choose } from './route.js'
import { Threshold } from './SettingsView.js'
import { useSettings } from './settings.js'

/** Number of closed events shown. */
const CLOSED_MAX = 50
/** Most opportunities that are remembered as notified. */
const KNOWN_MAX = 4096

/** Opportunities of the watched symbols above the viewer's threshold, including those before the page was opened. */
export function useWatchedOpportunities(symbols: readonly string[]): Opportunities {
  const { thresholdPct, hiddenExchanges, notify } = useSettings()
  const { open, closed, isConnected } = useOpportunities(symbols)
  const before = useReport<{ closed: readonly Opportunity[] }>('/api/opportunities', { everyMs: 10_000 }).value?.closed
  const watched = useMemo<Opportunities>(() => {
    const known = new Map<string, Opportunity>()
    for (const one of [...closed, ...(before ?? [])]) {
      if (!known.has(one.id) && symbols.includes(one.symbol)) known.set(one.id, one)
    }
    const isHidden = (one: Opportunity) => hiddenExchanges.includes(one.buyExchange) || hiddenExchanges.includes(one.sellExchange)
    const wanted = (one: Opportunity) => one.peakSpreadPct >= thresholdPct && !isHidden(one)
    const ended = [...known.values()].filter(wanted).sort((a, b) => b.timestamp - a.timestamp)
    return { open: open.filter((one) => one.spreadPct >= thresholdPct && !isHidden(one)), closed: ended, isConnected }
  }, [open, closed, before, symbols, thresholdPct, hiddenExchanges, isConnected])
  useNotifications(watched, notify)
  return watched
}

/** Notifies new opportunities once each, the largest of each symbol. */
function useNotifications({ open, isConnected }: Opportunities, on: boolean): void {
  const notified = useRef<ReadonlySet<string> | undefined>(undefined)
  useEffect(() => {
    // Opportunities that were open before a lost connection are not new after it.
    if (!isConnected) return
    const known = notified.current
    // Opportunities that fell below the viewer's threshold and returned are not new.
    const before = known !== undefined && known.size < KNOWN_MAX ? known : []
    notified.current = new Set([...before, ...open.map((one) => one.id)])
    // Opportunities that were open before the page was opened are not new.
    if (!on || known === undefined || typeof Notification === 'undefined' || Notification.permission !== 'granted') return
    const largest = new Map<string, Opportunity>()
    for (const one of open) {
      if (!known.has(one.id) && !largest.has(one.symbol)) largest.set(one.symbol, one)
    }
    for (const one of largest.values()) notify(one)
  }, [open, isConnected, on])
}

function notify(one: Opportunity): void {
  const body = `buy on ${tamed(one.buyExchange)}, sell on ${tamed(one.sellExchange)}`
  try {
    // A later notification of the same symbol replaces an earlier one.
    new Notification(`${tamed(one.symbol)} ${fixed(one.spreadPct, 2)}%`, { body, tag: `arbitrage-${one.symbol}` })
  } catch {
    // Browsers on phones define the name but no constructor.
  }
}

/** Text of the empty list: without a connection it is unknown whether an opportunity is open. */
export const emptyText = ({ isConnected }: Opportunities) =>
  isConnected ? 'No opportunity is open now.' : 'Not connected: open opportunities are not known.'

export function OpportunitiesView({ opportunities }: { opportunities: Opportunities }) {
  const newest = opportunities.open.reduce<Opportunity | undefined>((a, b) => (a && a.openedAt >= b.openedAt ? a : b), undefined)
  return (
    <div className="stack">
      <section className="box" aria-labelledby="open-now">
        <div className="bar">
          <h2 id="open-now">Open now</h2>
          <span className="sw-quiet">largest spread first</span>
          <Threshold end />
        </div>
        <OpportunityTable opportunities={opportunities.open} onChoose={(one) => choose(one.symbol)} empty={emptyText(opportunities)} />
        <p className="sw-spoken" role="status">
          {newest && `Newest: ${tamed(newest.symbol)}, buy on ${tamed(newest.buyExchange)}, sell on ${tamed(newest.sellExchange)}`}
        </p>
      </section>
      <section className="box" aria-labelledby="closed">
        <div className="bar">
          <h2 id="closed">Closed</h2>
          <span className="sw-quiet">newest first</span>
        </div>
        <OpportunityTable
          kind="closed"
          opportunities={opportunities.closed}
          eventsMax={CLOSED_MAX}
          onChoose={(one) => choose(one.symbol)}
        />
      </section>
      <section className="box" aria-labelledby="survival">
        <div className="bar">
          <h2 id="survival">Survival</h2>
          <span className="sw-quiet">share still above zero after fees, by time after the alert</span>
        </div>
        <SurvivalChart />
      </section>
      <section className="box" aria-labelledby="precision">
        <div className="bar">
          <h2 id="precision">Precision</h2>
          <span className="sw-quiet">share of real ones among those that closed in seven days</span>
        </div>
        <PrecisionTable />
      </section>
    </div>
  )
}
