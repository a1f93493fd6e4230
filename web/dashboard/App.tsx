// The page: the banner, the tabs and the selected view.

import { useEffect, useRef } from 'react'
import { eventsOf } from '../src/react/index.js'
import { Banner } from './Banner.js'
import { Boundary } from './Boundary.js'
import { InstrumentView } from './InstrumentView.js'
import { LatencyView } from './LatencyView.js'
import { OpportunitiesView, useWatchedOpportunities } from './OpportunitiesView.js'
import { PricesView } from './PricesView.js'
import { RefusalsView } from './RefusalsView.js'
import { SettingsView } from './SettingsView.js'
import { VenuesView } from './VenuesView.js'
import { VIEWS, useRoute } from './route.js'
import { useWatched } from './watched.js'

export function App() {
  const { view, rest } = useRoute()
  const watched = useWatched()
  const opportunities = useWatchedOpportunities(watched.symbols)
  // A jump of one exchange's price is one event with several opportunities.
  const openEvents = eventsOf(opportunities.open).length
  const tabs = useRef<HTMLElement>(null)
  // On a phone the tabs scroll. Since Chromium 150 `scrollIntoView` returns a promise.
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
          {view === 'refusals' && <RefusalsView asked={rest} />}
          {view === 'instrument' && <InstrumentView watched={watched} asked={rest} />}
          {view === 'latency' && <LatencyView />}
          {view === 'venues' && <VenuesView />}
          {view === 'settings' && <SettingsView watched={watched} />}
        </Boundary>
      </main>
    </div>
  )
}
