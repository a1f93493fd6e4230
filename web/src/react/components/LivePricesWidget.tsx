// A small box with the mid price of one symbol on up to four exchanges.

import { useExchangePriceComparison } from '../hooks/useExchangePriceComparison.js'
import { Dot, Name } from './parts.js'
import { money, tamed } from './text.js'

export interface LivePricesWidgetProps {
  symbol: string
  exchanges: readonly string[]
  /** The gateway; default: the origin of the page. */
  url?: string | undefined
}

/** Most exchanges shown. */
const SHOWN_MAX = 4

export function LivePricesWidget({ symbol, exchanges, url }: LivePricesWidgetProps) {
  const { comparison, isConnected } = useExchangePriceComparison(symbol, exchanges.slice(0, SHOWN_MAX), { url })
  return (
    <section className="sw sw-widget" aria-label={`Prices of ${tamed(symbol)}`}>
      <header className="sw-head">
        <strong>
          <Name>{symbol}</Name>
        </strong>
        <span className="sw-state" role="status">
          <Dot on={isConnected} /> {isConnected ? 'Live' : 'Offline'}
        </span>
      </header>
      <dl className="sw-pairs">
        {comparison.map((row) => (
          <div key={row.exchange} className={row.available ? '' : 'sw-old'}>
            <dt>
              <Name>{row.exchange}</Name>
            </dt>
            <dd className="sw-num">{row.midPrice === undefined ? '-' : money(symbol, row.midPrice, 4)}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
