// Details of one instrument: the spread between two exchanges, mid prices, an order book and the table of all exchanges.

import { useState } from 'react'
import { LivePricesPanel, MidChart, SpreadChart, useLivePrice, useOrderBook } from '../src/react/index.js'
import type { BookLevel } from '../src/react/index.js'
import { useReport } from '../src/react/hooks/useReport.js'
import { Name, Pill, Scroller, Ticking } from '../src/react/components/parts.js'
import { decimalsOf, duration, fixed, short, tamed } from '../src/react/components/text.js'
import type { Status } from '../src/core/reports.js'
import { choose } from './route.js'
import type { Watched } from './watched.js'
import { Columns } from './Columns.js'

export function InstrumentView({ watched, asked }: { watched: Watched; asked: string }) {
  const symbol = watched.all.symbols.includes(asked) ? asked : watched.symbols[0]
  const exchanges = symbol === undefined ? [] : (watched.quoted.get(symbol) ?? []).filter((name) => watched.exchanges.includes(name))
  const [pair, setPair] = useState<readonly [string, string] | undefined>(undefined)
  if (symbol === undefined) return <p className="sw-quiet sw-empty">No instruments.</p>
  const own = (name: string | undefined, other: string | undefined) => (name !== undefined && exchanges.includes(name) ? name : other)
  const one = own(pair?.[0], exchanges[0])
  const two = own(
    pair?.[1],
    exchanges.find((name) => name !== one),
  )
  return (
    <div className="columns">
      <div className="stack">
        <section className="box" aria-labelledby="spread-title">
          <div className="bar">
            <h2 id="spread-title">
              <Name>{symbol}</Name>
            </h2>
            <Choice end label="Instrument" value={symbol} options={watched.symbols} onChange={choose} />
          </div>
          {one !== undefined && two !== undefined ? (
            <>
              <div className="bar low">
                <h3>Spread between</h3>
                <Choice
                  label="First exchange"
                  value={one}
                  options={exchanges}
                  onChange={(name) => setPair([name, name === two ? one : two])}
                />
                <span>and</span>
                <Choice
                  label="Second exchange"
                  value={two}
                  options={exchanges}
                  onChange={(name) => setPair([name === one ? two : one, name])}
                />
              </div>
              <SpreadChart symbol={symbol} exchanges={[one, two]} />
            </>
          ) : (
            <p className="sw-quiet sw-empty">A spread needs two exchanges.</p>
          )}
        </section>
        {exchanges.length > 0 && (
          <section className="box" aria-labelledby="mid-title">
            <div className="bar">
              <h2 id="mid-title">Mid prices</h2>
            </div>
            <MidChart symbol={symbol} exchanges={exchanges} />
          </section>
        )}
        {exchanges.length > 0 && <Ladder key={symbol} symbol={symbol} exchanges={exchanges} />}
        <section className="box" aria-labelledby="table-title">
          <div className="bar">
            <h2 id="table-title">Exchanges</h2>
          </div>
          <Scroller label={`${tamed(symbol)} by exchange`}>
            <table className="sw-plain">
              <Columns names={['Exchange', 'State', 'Bid', 'Bid size', 'Ask', 'Ask size', 'Own spread', 'Age', 'Changes']} />
              <tbody>
                {exchanges.map((exchange) => (
                  <Row key={`${symbol} ${exchange}`} symbol={symbol} exchange={exchange} />
                ))}
              </tbody>
            </table>
          </Scroller>
        </section>
      </div>
      <LivePricesPanel symbol={symbol} exchanges={exchanges} notify={false} />
    </div>
  )
}

/** Levels per side that are shown. */
const LEVELS = 8

/** Why there is no book, by the reason of the gateway. */
const WHY: Record<string, string> = {
  gap: 'a message was lost; the book is requested again',
  checksum: 'the checksum is wrong; the book is requested again',
  crossed: 'its best bid is above its best ask',
  halt: 'trading is halted',
  silent: 'the exchange sends no changes',
  lost: 'no connection to the exchange',
  waiting: 'waiting for the first message',
  not_quoted: 'the exchange does not quote it',
  not_offered: 'the exchange offers no order books',
  off: 'this gateway has no order books',
  not_leader: 'another instance receives it',
}

/** The order book of the selected exchange; by default of the first that has one. */
function Ladder({ symbol, exchanges }: { symbol: string; exchanges: readonly string[] }) {
  const [chosen, setChosen] = useState<string | undefined>(undefined)
  const { value } = useReport<Status>('/api/status', { everyMs: 10_000 })
  const first = exchanges.find((name) => value?.venues.find((venue) => venue.exchange === name)?.books)
  const exchange = (chosen !== undefined && exchanges.includes(chosen) ? chosen : first) ?? exchanges[0]!
  return (
    <section className="box" aria-labelledby="book-title">
      <div className="bar">
        <h2 id="book-title">Order book</h2>
        <Choice end label="Exchange of the order book" value={exchange} options={exchanges} onChange={setChosen} />
      </div>
      <Levels key={exchange} symbol={symbol} exchange={exchange} />
    </section>
  )
}

function Levels({ symbol, exchange }: { symbol: string; exchange: string }) {
  const book = useOrderBook(symbol, exchange, { levels: LEVELS })
  if (book?.state !== 'live') {
    const why = book?.state === 'stale' ? 'no change for a while' : (WHY[book?.reason ?? 'waiting'] ?? book?.reason)
    return <p className="sw-quiet sw-empty">No order book: {tamed(why ?? '', 80)}.</p>
  }
  const { bids, asks } = book
  const decimals = Math.max(...[...bids, ...asks].map(([price]) => decimalsOf(price)))
  const size = (level: BookLevel | undefined) => <td className="sw-num">{level && short(level[1])}</td>
  const price = (level: BookLevel | undefined, kind: string) => <td className={`sw-num ${kind}`}>{level && fixed(level[0], decimals)}</td>
  return (
    <Scroller label={`Order book of ${tamed(symbol)} on ${tamed(exchange)}`}>
      <table className="sw-plain">
        <Columns names={['Bid size', 'Bid', 'Ask', 'Ask size']} />
        <tbody>
          {Array.from({ length: Math.max(bids.length, asks.length) }, (_, at) => (
            <tr key={at}>
              {size(bids[at])}
              {price(bids[at], 'sw-bid')}
              {price(asks[at], 'sw-ask')}
              {size(asks[at])}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroller>
  )
}

interface ChoiceProps {
  /** At the end of its bar. */
  end?: boolean
  label: string
  value: string
  options: readonly string[]
  onChange: (name: string) => void
}

export function Choice({ label, value, options, onChange, end = false }: ChoiceProps) {
  return (
    <label className={end ? 'field end' : 'field'}>
      <span className="sw-spoken">{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {(options.includes(value) ? options : [value, ...options]).map((name) => (
          <option key={name} value={name}>
            {tamed(name)}
          </option>
        ))}
      </select>
    </label>
  )
}

function Row({ symbol, exchange }: { symbol: string; exchange: string }) {
  const price = useLivePrice(symbol, exchange, { extended: true })
  const state = price === undefined ? 'waiting' : price.freshness === 'fresh' ? (price.state ?? 'fresh') : price.freshness
  const decimals = price ? Math.max(decimalsOf(price.bid), decimalsOf(price.ask)) : 0
  return (
    <tr>
      <th scope="row">
        <Name>{exchange}</Name>
      </th>
      <td>
        <Pill tone={state === 'fresh' ? 'good' : state === 'gone' ? 'bad' : state === 'waiting' ? 'plain' : 'warn'}>
          {tamed(state, 12)}
        </Pill>
      </td>
      {price && price.freshness !== 'gone' ? (
        <>
          <td className="sw-num sw-bid">{fixed(price.bid, decimals)}</td>
          <td className="sw-num">{price.bidSize === undefined ? '–' : short(price.bidSize)}</td>
          <td className="sw-num sw-ask">{fixed(price.ask, decimals)}</td>
          <td className="sw-num">{price.askSize === undefined ? '–' : short(price.askSize)}</td>
          <td className="sw-num">{fixed(((price.ask - price.bid) / price.midPrice) * 10_000, 2)} bps</td>
          <td className="sw-num">
            <Ticking step={500} text={(now) => duration(Math.max(price.ageMs ?? 0, now - price.timestamp))} />
          </td>
          <td className="sw-num">{price.seq === undefined ? '–' : fixed(price.seq, 0)}</td>
        </>
      ) : (
        <td colSpan={7} className="sw-quiet">
          No price
        </td>
      )}
    </tr>
  )
}
