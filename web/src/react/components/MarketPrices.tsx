// Cards with prices of pairs and statistics of the last 24 hours.

import type { PriceUpdate } from '../../core/messages.js'
import { usePriceStream } from '../hooks/usePriceStream.js'
import type { PriceStream } from '../hooks/usePriceStream.js'
import { Name, Pill } from './parts.js'
import type { Tone } from './parts.js'
import { money, percent } from './text.js'

export interface MarketPricesProps {
  /** For example `['BTC/USDT', 'ETH/USDT']`. If empty, nothing is drawn. */
  pairs: readonly string[]
  title?: string
  /** The gateway; default: the origin of the page. */
  url?: string | undefined
}

export function MarketPrices({ pairs, title = 'Market Prices', url }: MarketPricesProps) {
  const stream = usePriceStream(pairs, { url })
  if (pairs.length === 0) return null
  const [word, tone] = status(stream)
  return (
    <section className="sw sw-market" aria-label={title}>
      <header className="sw-head">
        <h2 className="sw-title">{title}</h2>
        <span role="status">
          <Pill tone={tone}>{word}</Pill>
        </span>
      </header>
      <ul className="sw-market-grid">
        {[...new Set(pairs)].map((pair) => (
          <li key={pair}>
            <PriceCard pair={pair} price={stream.prices.get(pair)} stale={stream.stalePairs.includes(pair)} />
          </li>
        ))}
      </ul>
    </section>
  )
}

function status(stream: PriceStream): [string, Tone] {
  if (stream.status === 'error') return stream.hasReceivedPrice ? ['Stale', 'warn'] : ['Error', 'bad']
  if (!stream.hasReceivedPrice) return stream.status === 'degraded' ? ['Unavailable', 'bad'] : ['Connecting', 'info']
  return stream.isPriceStale ? ['Stale', 'warn'] : ['Live', 'good']
}

export interface PriceCardProps {
  pair: string
  /** Whether there is no price yet: a spinner is shown. */
  price: PriceUpdate | undefined
  stale?: boolean
}

export function PriceCard({ pair, price, stale = false }: PriceCardProps) {
  // Without statistics of the exchange the values are 0 and meaningless.
  const day = price !== undefined && price.statistics !== false
  const old = stale && price !== undefined
  return (
    <article className={`sw-card sw-price-card ${old ? 'sw-card-old' : ''}`}>
      <header className="sw-line">
        <strong>
          <Name>{pair}</Name>
        </strong>
        {old && <Pill tone="warn">Stale</Pill>}
        {price?.quoteAlias !== undefined && (
          <Pill title="No dollar book has a price: this is the book of a coin that stands for the dollar">
            by <Name>{price.quoteAlias}</Name>
          </Pill>
        )}
      </header>
      {price === undefined ? (
        <p className="sw-quiet" aria-busy="true">
          <span className="sw-spinner" aria-hidden="true" /> Waiting for a price
        </p>
      ) : (
        <>
          <p className="sw-big sw-num">{money(pair, price.price, 2)}</p>
          {day ? (
            <>
              <p className={`sw-num ${price.changePercent24h < 0 ? 'sw-down' : 'sw-up'}`}>
                <span aria-hidden="true">{price.changePercent24h < 0 ? '▼' : '▲'}</span> {percent(price.changePercent24h)}{' '}
                {price.changePercent24h < 0 ? 'Bearish' : 'Bullish'}
              </p>
              <dl className="sw-pairs">
                <div>
                  <dt>24 h high</dt>
                  <dd className="sw-num">{money(pair, price.high24h, 2)}</dd>
                </div>
                <div>
                  <dt>24 h low</dt>
                  <dd className="sw-num">{money(pair, price.low24h, 2)}</dd>
                </div>
              </dl>
            </>
          ) : (
            <p className="sw-quiet">No figures of the day</p>
          )}
        </>
      )}
    </article>
  )
}
