// The page: what the numbers are, where one can go, and the view that was chosen.

import { useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { usePage } from '../src/react/index.js'
import type { Instruments } from '../src/react/index.js'
import { Banner } from './Banner.js'
import { InstrumentView } from './InstrumentView.js'
import { LatencyView } from './LatencyView.js'
import { OpportunitiesView, useWatchedOpportunities } from './OpportunitiesView.js'
import { PricesView } from './PricesView.js'
import { SettingsView } from './SettingsView.js'
import { VenuesView } from './VenuesView.js'
import { useSettings } from './settings.js'

const VIEWS = [
  ['prices', 'Prices'],
  ['opportunities', 'Opportunities'],
  ['instrument', 'Instrument'],
  ['latency', 'Latency'],
  ['venues', 'Venues'],
  ['settings', 'Settings'],
] as const

/** What is watched of what there is. */
export interface Watched {
  symbols: readonly string[]
  exchanges: readonly string[]
  /** All that the gateway has, whether watched or not. */
  all: { symbols: readonly string[]; exchanges: readonly string[] }
  /** Exchanges of each symbol. */
  quoted: ReadonlyMap<string, readonly string[]>
}

export function App() {
  const { view, rest } = useRoute()
  const watched = useWatched()
  const opportunities = useWatchedOpportunities(watched.symbols)
  const tabs = useRef<HTMLElement>(null)
  // On a phone the tabs have no room side by side.
  useEffect(() => tabs.current?.querySelector('[aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' }), [view])
  return (
    <div className="sw page">
      <a className="skip" href="#content" onClick={(event) => (event.preventDefault(), document.getElementById('content')?.focus())}>
        Skip to the content
      </a>
      <Banner watched={watched} />
      <nav className="tabs" aria-label="Views" ref={tabs}>
        {VIEWS.map(([name, title]) => (
          <a key={name} href={`#/${name}`} aria-current={name === view ? 'page' : undefined}>
            {title}
            {name === 'opportunities' && opportunities.open.length > 0 && (
              <span className="count" aria-label={`${opportunities.open.length} open`}>
                {opportunities.open.length}
              </span>
            )}
          </a>
        ))}
      </nav>
      <main id="content" tabIndex={-1}>
        {view === 'prices' && <PricesView watched={watched} opportunities={opportunities} />}
        {view === 'opportunities' && <OpportunitiesView opportunities={opportunities} />}
        {view === 'instrument' && <InstrumentView watched={watched} asked={rest} />}
        {view === 'latency' && <LatencyView />}
        {view === 'venues' && <VenuesView />}
        {view === 'settings' && <SettingsView watched={watched} />}
      </main>
    </div>
  )
}

export const choose = (symbol: string) => {
  location.hash = `#/instrument/${encodeURIComponent(symbol)}`
}

function useRoute(): { view: (typeof VIEWS)[number][0]; rest: string } {
  const hash = useSyncExternalStore(
    (listener) => {
      addEventListener('hashchange', listener)
      return () => removeEventListener('hashchange', listener)
    },
    () => location.hash,
  )
  const [, asked = '', rest = ''] = /^#\/(\w+)\/?(.*)$/.exec(hash) ?? []
  const view = VIEWS.find(([name]) => name === asked)?.[0] ?? 'prices'
  return { view, rest: decoded(rest) }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

function useWatched(): Watched {
  const { value } = usePage<Instruments>('/api/instruments', { everyMs: 10_000 })
  const { hiddenSymbols, hiddenExchanges } = useSettings()
  // The same answer again is nothing new.
  const content = JSON.stringify(value?.instruments ?? [])
  return useMemo(() => {
    const instruments = JSON.parse(content) as Instruments['instruments']
    const symbols = instruments.map((one) => one.symbol)
    const exchanges = [...new Set(instruments.flatMap((one) => one.exchanges))]
    return {
      symbols: symbols.filter((symbol) => !hiddenSymbols.includes(symbol)),
      exchanges: exchanges.filter((exchange) => !hiddenExchanges.includes(exchange)),
      all: { symbols, exchanges },
      quoted: new Map(instruments.map((one) => [one.symbol, one.exchanges])),
    }
  }, [content, hiddenSymbols, hiddenExchanges])
}
