// All prices, with the open opportunities.

import { useState } from 'react'
import { OpportunityTable, PriceGrid } from '../src/react/index.js'
import type { Opportunities } from '../src/react/index.js'
import { choose } from './route.js'
import type { Watched } from './watched.js'
import { emptyText } from './OpportunitiesView.js'
import { useSettings } from './settings.js'

export function PricesView({ watched, opportunities }: { watched: Watched; opportunities: Opportunities }) {
  const [filter, setFilter] = useState('')
  const { intervalMs } = useSettings()
  const found = watched.symbols.filter((symbol) => symbol.toLowerCase().includes(filter.trim().toLowerCase())).length
  return (
    <div className="columns">
      <section className="box" aria-labelledby="prices-title">
        <div className="bar">
          <h2 id="prices-title">Prices</h2>
          <span className="sw-quiet" role="status">
            {found} of {watched.all.symbols.length} instruments on {watched.exchanges.length} exchanges
          </span>
          <label className="field end">
            <span className="sw-spoken">Filter instruments</span>
            <input
              type="search"
              placeholder="Filter, e.g. BTC"
              value={filter}
              onChange={(event) => setFilter(event.target.value)}
              spellCheck={false}
            />
          </label>
        </div>
        {watched.beyond > 0 && (
          <p className="sw-quiet note">
            {watched.beyond} more instruments exceed the limits of the gateway: select what to watch in the{' '}
            <a href="#/settings">settings</a>.
          </p>
        )}
        <PriceGrid
          symbols={watched.symbols}
          exchanges={watched.exchanges}
          quoted={watched.quoted}
          filter={filter}
          intervalMs={intervalMs}
          onChoose={choose}
        />
        <p className="key sw-quiet">
          <span className="sw-side sw-bid sw-best">best bid</span> <span className="sw-side sw-ask sw-best">best ask</span>
          <span className="hatched">hatched</span> is stale: never compared, never part of an opportunity. Spread is best bid over best ask.
        </p>
      </section>
      <section className="box" aria-labelledby="open-title">
        <div className="bar">
          <h2 id="open-title">Open now</h2>
          <a href="#/opportunities">all</a>
        </div>
        <OpportunityTable
          opportunities={opportunities.open}
          eventsMax={SHOWN_MAX}
          onChoose={(one) => choose(one.symbol)}
          empty={emptyText(opportunities)}
        />
      </section>
    </div>
  )
}

const SHOWN_MAX = 6
