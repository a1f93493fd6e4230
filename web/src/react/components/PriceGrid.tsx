// A table of instruments (rows) and exchanges (columns). Marks the best bid and ask, and stale prices.

import { memo, useMemo, useRef, useState } from 'react'
import type { LivePrice } from '../../core/types.js'
import { useLiveExchangePrices } from '../hooks/useLiveExchangePrices.js'
import { Name, Pill, Scroller, Spoken, Ticking } from './parts.js'
import { decimalsOf, duration, fixed, percent, tamed } from './text.js'

export interface PriceGridProps {
  symbols: readonly string[]
  exchanges: readonly string[]
  /** Shows only symbols that contain this text, ignoring case. */
  filter?: string
  /** Milliseconds between updates, 10 to 60000; 0: every change, drawn once per frame. Default 250. */
  intervalMs?: number
  /** Called with the symbol of the selected row. */
  onChoose?: ((symbol: string) => void) | undefined
  /** The exchanges that quote a symbol, if known. The cells of other exchanges are empty. */
  quoted?: ReadonlyMap<string, readonly string[]> | undefined
  /** Most rows drawn. The number of further rows is shown, and the filter finds them. Default 200. */
  rowsMax?: number
  url?: string | undefined
}

/** Milliseconds between two sorts by spread: rows that move constantly are hard to read. */
const SORT_MS = 2000

type Order = 'given' | 'spread'

export const PriceGrid = memo(function PriceGrid(props: PriceGridProps) {
  const { symbols, exchanges, filter = '', intervalMs = 250, onChoose, quoted, rowsMax = 200, url } = props
  const [order, setOrder] = useState<Order>('given')
  const { prices } = useLiveExchangePrices({
    initialSymbols: symbols,
    initialExchanges: exchanges,
    intervalMs,
    extended: true,
    notify: false,
    url,
  })
  // Prices draw the grid often enough: no clock is needed.
  const tick = Math.floor(Date.now() / SORT_MS)
  const newest = useRef(prices)
  newest.current = prices
  const wanted = filter.trim().toLowerCase()
  const shown = useMemo(() => {
    const found = symbols.filter((symbol) => symbol.toLowerCase().includes(wanted))
    if (order === 'given') return found
    const spreads = new Map(found.map((symbol) => [symbol, best(cells(newest.current, symbol, exchanges)).spread ?? -Infinity]))
    return found.sort((a, b) => spreads.get(b)! - spreads.get(a)!)
    // `tick` causes another sort from time to time.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [symbols, exchanges, wanted, order, order === 'spread' ? tick : 0])

  return (
    <div className="sw sw-grid">
      <Scroller label="Prices by instrument and exchange">
        <table>
          {/* Fixed widths: a changed digit does not cause a new layout of the table. */}
          <colgroup>
            <col className="sw-col-name" />
            <col className="sw-col-spread" />
            {exchanges.map((exchange) => (
              <col key={exchange} className="sw-col-price" />
            ))}
          </colgroup>
          <thead>
            <tr>
              <SortHeader label="Instrument" on={order === 'given'} onClick={() => setOrder('given')} direction="ascending" />
              <SortHeader label="Spread" on={order === 'spread'} onClick={() => setOrder('spread')} direction="descending" />
              {exchanges.map((exchange) => (
                <th key={exchange} scope="col">
                  <Name max={24}>{exchange}</Name>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.slice(0, rowsMax).map((symbol) => (
              <GridRow
                key={symbol}
                symbol={symbol}
                exchanges={exchanges}
                quoted={quoted?.get(symbol)}
                cells={cells(prices, symbol, exchanges)}
                onChoose={onChoose}
              />
            ))}
          </tbody>
        </table>
      </Scroller>
      {shown.length > rowsMax && <p className="sw-quiet sw-empty">and {shown.length - rowsMax} more: filter to see them</p>}
      {shown.length === 0 && (
        <p className="sw-quiet sw-empty">{symbols.length === 0 ? 'No instruments.' : `No instrument contains “${tamed(filter)}”.`}</p>
      )}
    </div>
  )
})

type Cell = LivePrice | undefined

const cells = (prices: Readonly<Record<string, LivePrice>>, symbol: string, exchanges: readonly string[]): Cell[] =>
  exchanges.map((exchange) => prices[`${symbol}:${exchange}`])

interface Best {
  /** Index of the highest fresh bid and of the lowest fresh ask; -1 without one. */
  bid: number
  ask: number
  /** (best bid − best ask) / best ask in percent. */
  spread: number | undefined
}

/** Whether a price may be compared with others: the gateway confirms it. */
const counts = (cell: Cell): cell is LivePrice => cell?.freshness === 'fresh'

function best(row: readonly Cell[]): Best {
  let bid = -1
  let ask = -1
  row.forEach((cell, at) => {
    if (!counts(cell)) return
    if (bid < 0 || cell.bid > row[bid]!.bid) bid = at
    if (ask < 0 || cell.ask < row[ask]!.ask) ask = at
  })
  const spread = bid < 0 ? undefined : ((row[bid]!.bid - row[ask]!.ask) / row[ask]!.ask) * 100
  return { bid, ask, spread }
}

function SortHeader({
  label,
  on,
  onClick,
  direction,
}: {
  label: string
  on: boolean
  onClick: () => void
  direction: 'ascending' | 'descending'
}) {
  return (
    <th scope="col" aria-sort={on ? direction : 'none'}>
      <button type="button" className="sw-sort" onClick={onClick}>
        {label}
        <span aria-hidden="true">{on ? (direction === 'ascending' ? ' ▴' : ' ▾') : ' '}</span>
      </button>
    </th>
  )
}

interface RowProps {
  symbol: string
  exchanges: readonly string[]
  quoted: readonly string[] | undefined
  cells: readonly Cell[]
  onChoose: ((symbol: string) => void) | undefined
}

const sameRow = (a: RowProps, b: RowProps) =>
  a.symbol === b.symbol &&
  a.exchanges === b.exchanges &&
  a.quoted === b.quoted &&
  a.onChoose === b.onChoose &&
  a.cells.length === b.cells.length &&
  a.cells.every((cell, at) => cell === b.cells[at])

const GridRow = memo(function GridRow({ symbol, exchanges, quoted, cells: row, onChoose }: RowProps) {
  const top = best(row)
  // As many decimals as the finest price so far, so that digits keep their place.
  const decimals = useRef(0)
  for (const cell of row) {
    if (cell) decimals.current = Math.max(decimals.current, decimalsOf(cell.bid), decimalsOf(cell.ask))
  }
  return (
    <tr>
      <th scope="row">
        {onChoose ? (
          <button type="button" className="sw-link" onClick={() => onChoose(symbol)}>
            <Name>{symbol}</Name>
          </button>
        ) : (
          <Name>{symbol}</Name>
        )}
      </th>
      <td className={`sw-num sw-grid-spread ${(top.spread ?? 0) > 0 ? 'sw-up' : ''}`}>
        {top.spread === undefined ? '–' : percent(top.spread, 3)}
      </td>
      {exchanges.map((exchange, at) => (
        <PriceCell
          key={exchange}
          cell={row[at]}
          decimals={decimals.current}
          bestBid={top.bid === at}
          bestAsk={top.ask === at}
          none={quoted !== undefined && !quoted.includes(exchange)}
        />
      ))}
    </tr>
  )
}, sameRow)

// Created once: two hundred cells are drawn in every frame.
const BID = <Spoken>bid </Spoken>
const ASK = <Spoken>ask </Spoken>
const BEST_BID = <Spoken>best bid </Spoken>
const BEST_ASK = <Spoken>best ask </Spoken>

/** Why a price is stale, if the gateway gives a reason. */
const OLD: ReadonlyMap<string | undefined, string> = new Map([
  ['suspect', 'not confirmed'],
  ['halted', 'not traded'],
  ['cached', 'last known'],
])

interface CellProps {
  cell: Cell
  decimals: number
  bestBid: boolean
  bestAsk: boolean
  /** Whether the exchange does not quote the symbol. */
  none: boolean
}

const PriceCell = memo(function PriceCell({ cell, decimals, bestBid, bestAsk, none }: CellProps) {
  if (!cell || cell.freshness === 'gone') {
    return (
      <td className="sw-cell sw-cell-none">
        {none ? <Spoken>not quoted</Spoken> : cell ? <Pill tone="bad">gone</Pill> : <span className="sw-quiet">waiting</span>}
      </td>
    )
  }
  const old = cell.freshness === 'stale'
  return (
    <td className={`sw-cell sw-num ${old ? 'sw-cell-stale' : ''}`}>
      <span className={bestBid ? 'sw-side sw-bid sw-best' : 'sw-side sw-bid'}>
        {bestBid ? BEST_BID : BID}
        {fixed(cell.bid, decimals)}
      </span>
      <span className={bestAsk ? 'sw-side sw-ask sw-best' : 'sw-side sw-ask'}>
        {bestAsk ? BEST_ASK : ASK}
        {fixed(cell.ask, decimals)}
      </span>
      {old && (
        <span className="sw-stale-tag">
          {OLD.get(cell.state) ?? 'stale'} <Ticking step={1000} text={(now) => duration(Math.max(0, now - cell.timestamp))} />
        </span>
      )}
      {!old && (cell.level === 'shared' || cell.source === 'shared') && <Pill tone="info">shared</Pill>}
    </td>
  )
})
