// The page: what the numbers are, where one can go, and the view that was chosen.

import { useEffect, useRef } from 'react'
import { eventsOf } from '../src/react/index.js'
import { Banner } from './Banner.js'
import { Boundary } from './Boundary.js'
import { InstrumentView } from './InstrumentView.js'
import { LatencyView } from './LatencyView.js'
import { OpportunitiesView, useWatchedOpportunities } from './OpportunitiesView.js'
import { PricesView } from './PricesView.js'
import { SettingsView } from './SettingsView.js'
import { VenuesView } from './VenuesView.js'
import { VIEWS, useRoute } from './route.js'
import { useWatched } from './watched.js'

export function App() {
  const { view, rest } = useRoute()
  const watched = useWatched()
  const opportunities = useWatchedOpportunities(watched.symbols)
  // One jump of an exchange is one event, however many opportunities it makes.
  const openEvents = eventsOf(opportunities.open).length
  const tabs = useRef<HTMLElement>(null)
  // On a phone the tabs have no room side by side. Since Chromium 150 `scrollIntoView` returns a promise.
  useEffect(() => {
    tabs.current?.querySelector('[aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' })
  }, [view])
  return (
    <div className="sw page">
      <a className="skip" href="#content" onClick={(event) => (event.preventDefault(), document.getElementById('content')?.focus())}>
        Skip to the content
      </a>
      <Boundary name="The state of the gateway">
        <Banner watched={watched} />
      </Boundary>
      <nav className="tabs" aria-label="Views" ref={tabs}>
        {VIEWS.map(([name, title]) => (
          <a key={name} href={`#/${name}`} aria-current={name === view ? 'page' : undefined}>
            {title}
            {name === 'opportunities' && openEvents > 0 && (
              <span className="count" aria-label={`${openEvents} open`}>
                {openEvents}
              </span>
            )}
          </a>
        ))}
      </nav>
      <main id="content" tabIndex={-1}>
        <Boundary key={view} name="This view">
          {view === 'prices' && <PricesView watched={watched} opportunities={opportunities} />}
          {view === 'opportunities' && <OpportunitiesView opportunities={opportunities} />}
          {view === 'instrument' && <InstrumentView watched={watched} asked={rest} />}
          {view === 'latency' && <LatencyView />}
          {view === 'venues' && <VenuesView />}
          {view === 'settings' && <SettingsView watched={watched} />}
        </Boundary>
      </main>
    </div>
  )
}
