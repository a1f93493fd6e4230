// Charts over time: the spread between two exchanges in both directions, and the mid prices of several exchanges.

import { useRef } from 'react'
import type { LivePrice } from '../../core/types.js'
import { useLiveExchangePrices } from '../hooks/useLiveExchangePrices.js'
import { TimeChart } from './TimeChart.js'
import { fixed, money, percent, tamed } from './text.js'

interface Window {
  /** Time span of the chart, in milliseconds. Default three minutes. */
  windowMs?: number
  /** Milliseconds between two samples. Default 250. */
  stepMs?: number
  height?: number
  /** The gateway; default: the origin of the page. */
  url?: string | undefined
}

export interface SpreadChartProps extends Window {
  symbol: string
  /** The two exchanges. */
  exchanges: readonly [string, string]
}

export function SpreadChart({ symbol, exchanges, url, ...window }: SpreadChartProps) {
  const [one, other] = exchanges
  const prices = useFresh(symbol, exchanges, url)
  const spread = (buy: LivePrice | undefined, sell: LivePrice | undefined) => (buy && sell ? ((sell.bid - buy.ask) / buy.ask) * 100 : null)
  const sample = () => {
    const [first, second] = [prices(one), prices(other)]
    return [spread(first, second), spread(second, first)]
  }
  const lines = [`buy ${tamed(one)}, sell ${tamed(other)}`, `buy ${tamed(other)}, sell ${tamed(one)}`]
  return (
    <TimeChart
      key={`${symbol} ${one} ${other}`}
      label={`Spread of ${tamed(symbol)} between ${tamed(one)} and ${tamed(other)} over time`}
      lines={lines}
      sample={sample}
      format={(value) => percent(value, 3)}
      {...window}
    />
  )
}

export interface MidChartProps extends Window {
  symbol: string
  exchanges: readonly string[]
}

/** The mid price of a symbol on each exchange over time. */
export function MidChart({ symbol, exchanges, url, ...window }: MidChartProps) {
  const prices = useFresh(symbol, exchanges, url)
  const sample = () => exchanges.map((exchange) => prices(exchange)?.midPrice ?? null)
  return (
    <TimeChart
      key={`${symbol} ${exchanges.join(' ')}`}
      label={`Mid prices of ${tamed(symbol)} over time`}
      lines={exchanges.map((exchange) => tamed(exchange))}
      sample={sample}
      format={(value) => (value >= 1000 ? fixed(value, 1) : money(symbol, value, 2))}
      {...window}
    />
  )
}

/** Returns the latest fresh price of the symbol on an exchange. */
function useFresh(symbol: string, exchanges: readonly string[], url: string | undefined) {
  const { prices } = useLiveExchangePrices({
    initialSymbols: [symbol],
    initialExchanges: exchanges,
    intervalMs: 250,
    extended: true,
    notify: false,
    url,
  })
  const newest = useRef(prices)
  newest.current = prices
  return (exchange: string) => {
    const price = newest.current[`${symbol}:${exchange}`]
    return price?.freshness === 'fresh' ? price : undefined
  }
}
