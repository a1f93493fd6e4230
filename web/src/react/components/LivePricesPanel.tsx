// One symbol on several exchanges: prices, the spread between them, and alerts.

import type { ArbitrageAlert } from '../../core/types.js'
import { useNotifications } from '../hooks/notifications.js'
import { useArbitrageMonitor } from '../hooks/useArbitrageMonitor.js'
import { useExchangePriceComparison } from '../hooks/useExchangePriceComparison.js'
import type { ExchangeComparison, ExchangeComparisonRow } from '../hooks/useExchangePriceComparison.js'
import { NotifyButton } from './NotifyButton.js'
import { Dot, Name, Pill, Route } from './parts.js'
import { clock, fixed, money, tamed } from './text.js'

export interface LivePricesPanelProps {
  symbol: string
  exchanges: readonly string[]
  /** Least spread of the alerts shown, in percent. Default 0.5. */
  minArbitrageSpread?: number
  /** Browser notifications for alerts above 1 %, and a button that requests permission. Default true. */
  notify?: boolean
  /** The gateway; default: the origin of the page. */
  url?: string | undefined
}

/** Number of alerts shown. */
const SHOWN_MAX = 5

export function LivePricesPanel({ symbol, exchanges, minArbitrageSpread = 0.5, notify = true, url }: LivePricesPanelProps) {
  const prices = useExchangePriceComparison(symbol, exchanges, { url })
  const { alerts } = useArbitrageMonitor(symbol, minArbitrageSpread, { url, extended: true })
  const { isConnected } = prices
  useNotifications(alerts, notify)
  return (
    <section className="sw sw-panel" aria-label={`Live prices of ${tamed(symbol)}`}>
      <header className="sw-head">
        <h2 className="sw-title">Live Prices</h2>
        <span className="sw-badge">
          <Name>{symbol}</Name>
        </span>
        <span className="sw-state" role="status">
          <Dot on={isConnected} /> {isConnected ? 'Connected' : 'Disconnected'}
        </span>
        <small className="sw-note">Updates every 500 ms</small>
      </header>
      <ExchangePrices prices={prices} />
      <PotentialSpread prices={prices} />
      {isConnected ? <Alerts alerts={alerts} threshold={minArbitrageSpread} /> : <Connecting />}
      {notify && <NotifyButton />}
    </section>
  )
}

function ExchangePrices({ prices }: { prices: ExchangeComparison }) {
  return (
    <div className="sw-section">
      <h3 className="sw-subtitle">Exchange Prices</h3>
      {prices.comparison.length === 0 ? (
        <p className="sw-quiet">Waiting for exchanges…</p>
      ) : (
        <ul className="sw-rows">
          {prices.comparison.map((row) => (
            <ExchangeRow key={row.exchange} row={row} prices={prices} />
          ))}
        </ul>
      )}
    </div>
  )
}

function ExchangeRow({ row, prices }: { row: ExchangeComparisonRow; prices: ExchangeComparison }) {
  const isBuy = row.available && prices.bestBuyExchange === row.exchange
  const isSell = row.available && prices.bestSellExchange === row.exchange
  const known = row.bid !== undefined && row.ask !== undefined
  const price = (value: number) => money(prices.symbol, value, 4)
  return (
    <li className={`sw-row ${row.available ? '' : 'sw-old'}`}>
      <strong className="sw-exchange">
        <Name>{row.exchange}</Name>
      </strong>
      {known ? (
        <span className="sw-sides">
          <span>
            Bid <b className="sw-num sw-bid">{price(row.bid!)}</b>
          </span>
          <span>
            Ask <b className="sw-num sw-ask">{price(row.ask!)}</b>
          </span>
        </span>
      ) : (
        <span className="sw-sides">No data</span>
      )}
      <span className="sw-num sw-mid">{row.midPrice === undefined ? '–' : price(row.midPrice)}</span>
      <span className="sw-marks">
        {isBuy && <Pill tone="good">Best Buy</Pill>}
        {isSell && <Pill tone="bad">Best Sell</Pill>}
        {!isBuy && !isSell && row.available && <Pill>Available</Pill>}
        {!row.available && known && <Pill tone="warn">Stale</Pill>}
      </span>
    </li>
  )
}

function PotentialSpread({ prices }: { prices: ExchangeComparison }) {
  const { potentialSpread, bestBuyExchange, bestSellExchange, bestBuyPrice, bestSellPrice } = prices
  if (potentialSpread === null || bestBuyPrice === undefined || bestSellPrice === undefined) return null
  return (
    <div className={`sw-spread ${potentialSpread > 0 ? 'sw-spread-up' : ''}`}>
      <span>
        Potential spread <b className="sw-num">{fixed(potentialSpread, 2)}%</b>
      </span>
      <span>
        <Route from={bestBuyExchange ?? ''} to={bestSellExchange ?? ''} />{' '}
        <span className="sw-num">
          ({money(prices.symbol, bestBuyPrice, 4)} → {money(prices.symbol, bestSellPrice, 4)})
        </span>
      </span>
    </div>
  )
}

/** Alerts by event, newest first: a jump of one exchange's price alerts the routes to all other exchanges. */
function byEvent(alerts: readonly ArbitrageAlert[]): ArbitrageAlert[][] {
  const groups = new Map<unknown, ArbitrageAlert[]>()
  for (const alert of alerts) {
    const known = groups.get(alert.group ?? alert)
    if (known) known.push(alert)
    else groups.set(alert.group ?? alert, [alert])
  }
  return [...groups.values()].map((all) => all.sort((a, b) => b.spreadPct - a.spreadPct))
}

function Alerts({ alerts, threshold }: { alerts: readonly ArbitrageAlert[]; threshold: number }) {
  const events = byEvent(alerts)
  if (events.length === 0) {
    return <p className="sw-card sw-quiet">No arbitrage opportunity above {threshold}% now.</p>
  }
  const more = events.length - SHOWN_MAX
  return (
    <div className="sw-section">
      <h3 className="sw-subtitle">Arbitrage Opportunities ({events.length})</h3>
      <ul className="sw-cards">
        {events.slice(0, SHOWN_MAX).map(
          ([alert, ...others], at) =>
            alert && (
              <li key={`${events.length - at} ${alert.timestamp} ${alert.buyExchange} ${alert.sellExchange}`} className="sw-card sw-alert">
                <div className="sw-line">
                  <Route from={alert.buyExchange} to={alert.sellExchange} />
                  {others.length > 0 && <small className="sw-quiet">and {others.length} more</small>}
                  <Pill tone="good">{fixed(alert.spreadPct, 2)}%</Pill>
                </div>
                <div className="sw-line sw-num">
                  <span>Buy {money(alert.symbol, alert.buyPrice, 4)}</span>
                  <span>Sell {money(alert.symbol, alert.sellPrice, 4)}</span>
                </div>
                <div className="sw-line sw-quiet">
                  <span className="sw-num">Profit of 100 units {money(alert.symbol, alert.profit, 2)}</span>
                  <time dateTime={new Date(alert.timestamp).toISOString()}>{clock(alert.timestamp)}</time>
                </div>
              </li>
            ),
        )}
      </ul>
      {more > 0 && <p className="sw-quiet">+{more} more</p>}
    </div>
  )
}

function Connecting() {
  return <p className="sw-card sw-quiet sw-pulse">Connecting to the live prices…</p>
}
