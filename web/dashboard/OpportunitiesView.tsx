// What is open, what was, and the word to the viewer when one opens.

import { useEffect, useMemo, useRef } from 'react'
import { OpportunityTable, useOpportunities } from '../src/react/index.js'
import type { Opportunities, Opportunity } from '../src/react/index.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { fixed, tamed } from '../src/react/components/text.js'
import { choose } from './route.js'
import { Threshold } from './SettingsView.js'
import { useSettings } from './settings.js'

/** Closed events that are shown. */
const CLOSED_MAX = 50
/** Opportunities that are remembered as told. */
const KNOWN_MAX = 4096

/** Opportunities of the watched symbols above the viewer's threshold, those before this page came included. */
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

/** Tells of opportunities that open, the largest of a symbol, each once. */
function useNotifications({ open, isConnected }: Opportunities, on: boolean): void {
  const told = useRef<ReadonlySet<string> | undefined>(undefined)
  useEffect(() => {
    // Over a lost connection what was open may still be: that is no news when it is back.
    if (!isConnected) return
    const known = told.current
    // Those that went below the viewer's threshold and came back are known too.
    const before = known !== undefined && known.size < KNOWN_MAX ? known : []
    told.current = new Set([...before, ...open.map((one) => one.id)])
    // What is open when the page comes is no news either.
    if (!on || known === undefined || typeof Notification === 'undefined' || Notification.permission !== 'granted') return
    const largest = new Map<string, Opportunity>()
    for (const one of open) {
      if (!known.has(one.id) && !largest.has(one.symbol)) largest.set(one.symbol, one)
    }
    for (const one of largest.values()) tell(one)
  }, [open, isConnected, on])
}

function tell(one: Opportunity): void {
  const body = `buy on ${tamed(one.buyExchange)}, sell on ${tamed(one.sellExchange)}`
  try {
    // A later one of the same symbol takes the place of an earlier one.
    new Notification(`${tamed(one.symbol)} ${fixed(one.spreadPct, 2)}%`, { body, tag: `arbitrage-${one.symbol}` })
  } catch {
    // Phones have the name and no constructor.
  }
}

/** No news is good news only while somebody could tell. */
export const emptyText = ({ isConnected }: Opportunities) =>
  isConnected ? 'No opportunity is open now.' : 'Not connected: what is open now is not known.'

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
    </div>
  )
}
