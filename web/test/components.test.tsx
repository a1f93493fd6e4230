// @vitest-environment happy-dom
// The components as users see them, with the real hooks and a fake gateway.
import { act, fireEvent, render, screen, within } from '@testing-library/react'
import type { ReactElement } from 'react'
import { renderToString } from 'react-dom/server'
import { describe, expect, test, vi } from 'vitest'
import type { Opportunity } from '../src/core/types.js'
import {
  LatencyChart,
  PrecisionTable,
  SurvivalChart,
  LivePricesPanel,
  LivePricesWidget,
  MarketPrices,
  MidChart,
  NotifyButton,
  OpportunityTable,
  PriceCard,
  PriceGrid,
  SpreadChart,
  StatsPanel,
} from '../src/react/index.js'
import { Ring } from '../src/react/components/ring.js'
import { decimalsOf, duration, latency, money, percent, short, tamed } from '../src/react/components/text.js'
import { gateway, onePage, pass } from './page.js'
import { FakeEvents } from './rig.js'

onePage()
const BTC = 'BTC/USDT'
const draw = (element: ReactElement) => {
  const drawn = render(element)
  pass(50)
  return drawn
}
/** The text of an element, with white space collapsed. */
const text = (element: Element) => (element.textContent ?? '').replace(/\s+/g, ' ').trim()
const rows = () => within(screen.getByRole('list')).getAllByRole('listitem').map(text)

describe('LivePricesPanel', () => {
  const panel = (more: Partial<Parameters<typeof LivePricesPanel>[0]> = {}) =>
    draw(<LivePricesPanel symbol={BTC} exchanges={['binance', 'okx', 'kraken']} {...more} />)

  test('the state as text, a row for each exchange in the given order, four decimals', () => {
    panel()
    expect(text(screen.getByRole('status'))).toBe('Connected')
    gateway.price(BTC, 'binance', 99.5, 100)
    gateway.price(BTC, 'okx', 101, 101.25)
    pass(20)
    const [binance, okx, kraken] = rows()
    expect(binance).toMatch(/^binanceBid \$99\.5000Ask \$100\.0000\$99\.7500Best Buy$/)
    expect(okx).toMatch(/^okxBid \$101\.0000Ask \$101\.2500\$101\.1250Best Sell$/)
    expect(kraken).toBe('krakenNo data–')
    gateway.price(BTC, 'kraken', 99, 100.5)
    pass(20)
    expect(rows()[2]).toMatch(/Available$/)
    expect(screen.getByText('Updates every 500 ms')).toBeTruthy()
  })

  test('the spread box is shown only while there is a spread', () => {
    const { container } = panel()
    expect(container.querySelector('.sw-spread')).toBeNull()
    gateway.price(BTC, 'binance', 99.5, 100)
    gateway.price(BTC, 'okx', 101, 101.25)
    pass(20)
    expect(text(container.querySelector('.sw-spread')!)).toContain('1.00%')
    expect(text(container.querySelector('.sw-spread')!)).toContain('($100.0000 → $101.0000)')
  })

  test('one exchange that is best on both sides has two marks, and no price is "$N/A"', () => {
    const { container } = panel({ exchanges: ['binance'] })
    gateway.price(BTC, 'binance', 99.5, 100)
    pass(20)
    expect([...container.querySelectorAll('.sw-marks .sw-pill')].map(text)).toEqual(['Best Buy', 'Best Sell'])
    expect(container.textContent).not.toMatch(/N\/A|NaN|undefined/)
  })

  test('disconnected: the dot is still, the text shows it, and prices are labelled stale', () => {
    const { container } = panel()
    gateway.price(BTC, 'binance', 99.5, 100)
    pass(20)
    gateway.mood = 'refusing'
    gateway.socket.drop(1006)
    pass(30)
    expect(text(screen.getByRole('status'))).toBe('Disconnected')
    expect(container.querySelector('.sw-dot-on')).toBeNull()
    expect(screen.getByText(/Connecting to the live prices/)).toBeTruthy()
    expect(rows()[0]).toMatch(/Stale$/)
    expect(container.textContent).not.toContain('Best')
    gateway.mood = 'accepting'
    pass(10_000)
    expect(text(screen.getByRole('status'))).toBe('Connected')
  })

  test('the first five alerts as cards, then the number of further ones; without alerts, the threshold', () => {
    const { container } = panel({ minArbitrageSpread: 0.75 })
    expect(container.textContent).toContain('No arbitrage opportunity above 0.75% now.')
    gateway.alert(BTC, 'binance', 'okx', 0.6)
    for (let at = 0; at < 7; at += 1) gateway.alert(BTC, 'binance', `venue${at}`, 1 + at)
    pass(20)
    expect(screen.getByText('Arbitrage Opportunities (7)')).toBeTruthy()
    const cards = [...container.querySelectorAll('.sw-alert')].map(text)
    expect(cards.length).toBe(5)
    expect(cards[0]).toContain('7.00%')
    expect(cards[0]).toContain('Buy $100.0000Sell $107.0000')
    expect(cards[0]).toContain('Profit of 100 units $700.00')
    expect(screen.getByText('+2 more')).toBeTruthy()
  })

  test('the alerts of one jump are one card with the best route', () => {
    panel()
    gateway.alert(BTC, 'binance', 'okx', 2, { group: 'g', groupLeg: 'sell', groupSize: 1 })
    gateway.alert(BTC, 'kraken', 'okx', 3, { group: 'g', groupLeg: 'sell', groupSize: 2 })
    gateway.alert(BTC, 'okx', 'gate', 1)
    pass(50)
    const cards = [...document.querySelectorAll('.sw-alert .sw-line:first-child')].map(text)
    expect(cards).toEqual(['buy on okx → , sell on gate1.00%', 'buy on kraken → , sell on okxand 1 more3.00%'])
    expect(screen.getByText('Arbitrage Opportunities (2)')).toBeTruthy()
  })

  test('an alert above 1 % is notified once for all panels', () => {
    const shown = vi.fn()
    class Notification {
      static permission = 'granted'
      constructor(title: string, { body, tag }: { body: string; tag: string }) {
        shown(title, body, tag)
      }
    }
    vi.stubGlobal('Notification', Notification)
    draw(
      <>
        <LivePricesPanel symbol={BTC} exchanges={['binance', 'okx']} />
        <LivePricesPanel symbol={BTC} exchanges={['binance', 'okx']} />
        <LivePricesPanel symbol={BTC} exchanges={['binance', 'okx']} notify={false} />
      </>,
    )
    gateway.alert(BTC, 'binance', 'okx', 0.9)
    gateway.alert(BTC, 'binance', 'okx', 1.25)
    pass(20)
    expect(shown.mock.calls).toEqual([['Arbitrage Alert: BTC/USDT', '1.25% spread: buy on binance, sell on okx', 'arbitrage-BTC/USDT']])
  })

  test('no exchanges: waiting', () => {
    panel({ exchanges: [] })
    expect(screen.getByText('Waiting for exchanges…')).toBeTruthy()
  })

  test('inline arrays and many panels: one socket, nothing subscribed again', () => {
    const many = (round: number) => (
      <div data-round={round}>
        {Array.from({ length: 10 }, (_, at) => (
          <LivePricesPanel key={at} symbol={BTC} exchanges={['binance', 'okx']} />
        ))}
        <LivePricesWidget symbol={BTC} exchanges={['binance', 'okx']} />
      </div>
    )
    const { rerender } = draw(many(0))
    const heard = gateway.heard.length
    for (let round = 1; round < 50; round += 1) {
      rerender(many(round))
      pass(20)
    }
    expect([gateway.sockets.length, gateway.heard.length]).toEqual([1, heard])
  })
})

describe('LivePricesWidget', () => {
  test('the first four exchanges with their mid price, or a dash', () => {
    const { container } = draw(<LivePricesWidget symbol={BTC} exchanges={['a', 'b', 'c', 'd', 'e']} />)
    gateway.price(BTC, 'a', 1, 2)
    pass(20)
    const cells = [...container.querySelectorAll('dl > div')].map(text)
    expect(cells).toEqual(['a$1.5000', 'b-', 'c-', 'd-'])
    expect(text(screen.getByRole('status'))).toBe('Live')
    expect([...gateway.socket.exchanges]).toEqual(['a', 'b', 'c', 'd'])
  })
})

describe('MarketPrices and PriceCard', () => {
  const price = {
    pair: 'BTC/USD',
    price: 63731.6,
    bid: 1,
    ask: 2,
    high24h: 66053.76,
    low24h: 63431.39,
    change24h: -1519.25,
    changePercent24h: -2.328,
    volume24h: 1,
    timestamp: 1,
  }

  test('one card for each pair, and the state of the stream; empty without pairs', () => {
    const { container, rerender } = draw(<MarketPrices pairs={['BTC/USD', 'ETH/USD', 'BTC/USD']} />)
    expect(text(screen.getByRole('status'))).toBe('Connecting')
    expect(container.querySelectorAll('article').length).toBe(2)
    const [stream] = FakeEvents.open
    stream!.connected()
    stream!.price('BTC/USD', 63731.63)
    stream!.price('ETH/USD', 2480)
    pass(1000)
    expect(text(screen.getByRole('status'))).toBe('Live')
    stream!.fail(2)
    pass(1000)
    expect(text(screen.getByRole('status'))).toBe('Stale')
    rerender(<MarketPrices pairs={[]} />)
    expect(container.textContent).toBe('')
  })

  test('the figures of the card, with separators and two decimals', () => {
    const { container } = draw(<PriceCard pair="BTC/USD" price={price} />)
    expect(text(container)).toBe('BTC/USD$63,731.60▼ -2.33% Bearish24 h high$66,053.7624 h low$63,431.39')
  })

  test('waiting, stale, another book, no day statistics, small prices: each is labelled', () => {
    const { container, rerender } = draw(<PriceCard pair="BTC/USD" price={undefined} />)
    expect(text(container)).toContain('Waiting for a price')
    rerender(<PriceCard pair="BTC/USD" price={{ ...price, changePercent24h: 2, quoteAlias: 'USDT' }} stale />)
    expect(text(container)).toMatch(/Staleby USDT.*Bullish/)
    expect(container.querySelector('.sw-card-old')).not.toBeNull()
    rerender(<PriceCard pair="PEPE/USDT" price={{ ...price, price: 0.00001234, statistics: false }} />)
    expect(text(container)).toBe('PEPE/USDT$0.00001234No figures of the day')
    expect(container.textContent).not.toContain('Bearish')
  })
})

describe('PriceGrid', () => {
  const cell = (container: Element, row: number, column: number) => container.querySelectorAll('tbody tr')[row]!.children[column]!

  test('best bid and ask are marked, visually and as text; a stale price is neither', () => {
    const { container } = draw(<PriceGrid symbols={[BTC]} exchanges={['binance', 'okx']} />)
    gateway.price(BTC, 'binance', 100, 101, { state: 'fresh' })
    gateway.price(BTC, 'okx', 100.5, 100.75, { state: 'fresh' })
    pass(20)
    expect(text(cell(container, 0, 3))).toBe('best bid 100.50best ask 100.75')
    expect(text(cell(container, 0, 2))).toBe('bid 100.00ask 101.00')
    expect(text(cell(container, 0, 1))).toBe('-0.248%')
    gateway.price(BTC, 'okx', 100.5, 100.75, { state: 'stale' })
    pass(20)
    expect(text(cell(container, 0, 3))).toMatch(/^bid 100\.50ask 100\.75stale/)
    expect(cell(container, 0, 3).className).toContain('sw-cell-stale')
    expect(text(cell(container, 0, 2))).toBe('best bid 100.00best ask 101.00')
  })

  test('an unconfirmed or last known price is shown with its state and never as best', () => {
    const { container } = draw(<PriceGrid symbols={[BTC]} exchanges={['binance', 'okx', 'kraken']} />)
    gateway.price(BTC, 'binance', 100, 101, { state: 'fresh' })
    gateway.price(BTC, 'okx', 200, 201, { state: 'suspect' })
    gateway.price(BTC, 'kraken', 300, 301, { state: 'cached' })
    pass(20)
    expect(text(cell(container, 0, 3))).toMatch(/^bid 200ask 201not confirmed/)
    expect(text(cell(container, 0, 4))).toMatch(/^bid 300ask 301last known/)
    expect(text(cell(container, 0, 2))).toContain('best bid')
  })

  test('the number of rows that are not drawn is shown, and the filter finds them', () => {
    const symbols = Array.from({ length: 30 }, (_, at) => `S${at}/USDT`)
    const { container, rerender } = draw(<PriceGrid symbols={symbols} exchanges={['okx']} rowsMax={10} />)
    expect(container.querySelectorAll('tbody tr').length).toBe(10)
    expect(container.textContent).toContain('and 20 more')
    rerender(<PriceGrid symbols={symbols} exchanges={['okx']} rowsMax={10} filter="s29" />)
    expect([...container.querySelectorAll('tbody th')].map(text)).toEqual(['S29/USDT'])
  })

  test('a filter without matches shows a message; a row can be selected; exchanges that do not quote the symbol are empty', () => {
    const choose = vi.fn()
    const quoted = new Map([[BTC, ['binance']]])
    const { container, rerender } = draw(<PriceGrid symbols={[BTC]} exchanges={['binance', 'okx']} quoted={quoted} onChoose={choose} />)
    fireEvent.click(screen.getByRole('button', { name: BTC }))
    expect(choose).toHaveBeenCalledWith(BTC)
    expect(text(cell(container, 0, 3))).toBe('not quoted')
    rerender(<PriceGrid symbols={[BTC]} exchanges={['binance', 'okx']} filter="doge" />)
    expect(container.textContent).toContain('No instrument contains “doge”.')
  })
})

describe('OpportunityTable', () => {
  const opportunity: Opportunity = {
    change: 'opened',
    id: '1',
    symbol: BTC,
    buyExchange: 'binance',
    sellExchange: 'okx',
    buyPrice: 100,
    sellPrice: 101.25,
    spreadPct: 1.25,
    netSpreadPct: -0.05,
    executableSize: 0.75,
    buyAgeMs: 3,
    sellAgeMs: 1200,
    openedAt: 1,
    livedMs: 4000,
    peakSpreadPct: 1.5,
    source: 'simulated',
    timestamp: 1,
  }

  test('an open opportunity: gross, net, size, both ages, duration and source', () => {
    const { container } = draw(<OpportunityTable opportunities={[opportunity]} />)
    const cells = [...container.querySelectorAll('tbody tr')[0]!.children].map(text)
    expect(cells[0]).toBe('BTC/USDT simulated')
    expect(cells[1]).toBe('buy on binance → , sell on okx')
    const figures = ['+1.25% peak +1.50%', '-0.05%', '0.7500 BTC', '$100.00 → $101.25', '3 ms / 1.2 s', '4.0 s']
    expect(cells.slice(2), 'an earlier gateway sends no evidence').toEqual([...figures, '– / –', '–'])
  })

  test.each(['open', 'closed'] as const)('an %s opportunity shows its proof, with its interval and error on hover, and the lag', (kind) => {
    const known = (id: string, more: Partial<Opportunity>): Opportunity => ({ ...opportunity, id, ...more })
    const all = [
      known('1', { proof: 'proven', proofMs: 820, proofErrorMs: 12, buyExcessLagMs: 0, sellExcessLagMs: 1500, spreadPct: 9 }),
      known('2', { proof: 'likely', proofMs: null, proofErrorMs: 12, buyExcessLagMs: null, sellExcessLagMs: 2, spreadPct: 8 }),
      known('3', { proof: 'unproven', proofMs: null, proofErrorMs: null, spreadPct: 7 }),
      known('4', { proof: '\u202eodd', spreadPct: 6 }),
    ]
    const { container } = draw(<OpportunityTable kind={kind} opportunities={all} />)
    const lags = [...container.querySelectorAll('td.sw-lag')].map(text)
    expect(lags).toEqual(['0 ms / 1.5 s', '– / 2 ms', '– / –', '– / –'])
    const proofs = [...container.querySelectorAll('td.sw-proof .sw-pill')]
    expect(proofs.map(text)).toEqual(['proven 820 ms', 'likely', 'unproven', '⟨202E⟩odd'])
    expect(proofs.map((one) => one.getAttribute('title'))).toEqual([
      'both legs existed together, for 820 ms at least; error of the clocks 12 ms',
      'no message has shown yet that both legs existed together; error of the clocks 12 ms',
      'a leg has neither a timestamp nor a witness',
      '⟨202E⟩odd',
    ])
  })

  test('one jump is one row with the best of its group; the others can be expanded', () => {
    const jump = (id: string, buyExchange: string, spreadPct: number): Opportunity => ({
      ...opportunity,
      id,
      buyExchange,
      spreadPct,
      peakSpreadPct: spreadPct,
      group: 'a',
      groupLeg: 'sell',
      groupSize: 3,
    })
    const other = { ...opportunity, id: 'x', symbol: 'ETH/USDT', spreadPct: 1, peakSpreadPct: 1 }
    const { container } = draw(
      <OpportunityTable opportunities={[jump('b', 'kraken', 3), other, jump('a', 'binance', 2), jump('c', 'gate', 1)]} />,
    )
    const routes = () => [...container.querySelectorAll('tbody tr')].map((row) => text(row.children[1]!))
    expect(routes()).toEqual(['buy on kraken → , sell on okx and 2 more', 'buy on binance → , sell on okx'])
    const more = screen.getByRole('button', { name: 'and 2 more' })
    expect(more.getAttribute('aria-expanded')).toBe('false')
    fireEvent.click(more)
    expect(routes()).toEqual([
      'buy on kraken → , sell on okx fewer',
      'buy on binance → , sell on okx',
      'buy on gate → , sell on okx',
      'buy on binance → , sell on okx',
    ])
    fireEvent.click(screen.getByRole('button', { name: 'fewer' }))
    expect(routes().length).toBe(2)
  })

  test('a closed opportunity shows why it ended, also for an unknown reason', () => {
    const closed = (id: string, reason?: string): Opportunity => ({ ...opportunity, change: 'closed', id, ...(reason ? { reason } : {}) })
    const { container } = draw(
      <OpportunityTable kind="closed" opportunities={[closed('1', 'sell_moved'), closed('2', 'eclipse_of_moon'), closed('3')]} />,
    )
    expect([...container.querySelectorAll('.sw-why')].map(text)).toEqual(['bid fell', 'eclipse of moon', '–'])
  })

  test('a closed opportunity shows what it was', () => {
    const closed: Opportunity = { ...opportunity, change: 'closed', reason: 'sell_moved', class: 'lagged_view' }
    const { container } = draw(<OpportunityTable kind="closed" opportunities={[closed]} />)
    expect(text(container.querySelector('.sw-why')!)).toBe('bid fell · lagged view')
  })

  test('a closed opportunity shows its peak; an empty table shows a text', () => {
    const { container, rerender } = draw(<OpportunityTable kind="closed" opportunities={[{ ...opportunity, change: 'closed' }]} />)
    expect(text(container.querySelectorAll('tbody tr')[0]!.children[2]!)).toBe('+1.50%')
    rerender(<OpportunityTable opportunities={[]} />)
    expect(text(container)).toBe('No opportunity is open now.')
  })
})

describe('NotifyButton', () => {
  test('empty if the browser has no notifications', () => {
    vi.stubGlobal('Notification', undefined)
    expect(draw(<NotifyButton />).container.textContent).toBe('')
  })

  test('requests permission on a click, then disappears', async () => {
    const notification = { permission: 'default', requestPermission: vi.fn(async () => (notification.permission = 'granted')) }
    vi.stubGlobal('Notification', notification)
    const { container } = draw(<NotifyButton />)
    await act(async () => fireEvent.click(screen.getByRole('button')))
    expect(notification.requestPermission).toHaveBeenCalledTimes(1)
    expect(container.textContent).toBe('')
  })

  test('shows that notifications are blocked, because browsers do not ask again', () => {
    vi.stubGlobal('Notification', { permission: 'denied' })
    expect(text(draw(<NotifyButton />).container)).toContain('blocked')
  })
})

test('names are text, and characters that hide or reorder text are shown by their code', () => {
  expect(tamed('<b>x</b>')).toBe('<b>x</b>')
  expect(tamed('BTC\u202eTDSU\u0007\u200b\u2066')).toBe('BTC⟨202E⟩TDSU⟨0007⟩⟨200B⟩⟨2066⟩')
  expect(tamed('\ud800x')).toBe('⟨D800⟩x')
  expect(tamed('🚀/USDT مرحبا')).toBe('🚀/USDT مرحبا')
  expect(Array.from(tamed('x'.repeat(1e6))).length).toBe(80)
  const evil = '<img src=x onerror=alert(1)>'
  const { container } = draw(<LivePricesPanel symbol={evil} exchanges={[evil, '\u202eokx']} />)
  expect(container.querySelector('img')).toBeNull()
  expect(text(container)).toContain(evil)
  expect(text(container)).toContain('⟨202E⟩okx')
})

test('a ring contains its latest samples in order', () => {
  const ring = new Ring(2, 3)
  expect(ring.newest()).toEqual([null, null])
  for (let at = 1; at <= 5; at += 1) ring.push(at, [at * 10, at === 4 ? null : at * 100])
  expect(ring.aligned()).toEqual([
    [3, 4, 5],
    [30, 40, 50],
    [300, null, 500],
  ])
  expect(ring.aligned()).toBe(ring.aligned())
  expect([ring.length, ...ring.newest()]).toEqual([3, 50, 500])
})

test('formats of numbers', () => {
  expect([1, 0.1, 1e-7, 63703.7, 1.5e-9, 5e20].map(decimalsOf)).toEqual([0, 1, 7, 1, 10, 0])
  expect([money('ETH/BTC', 0.0384, 4), money('BTC/USD', 1234.5, 2), money('SHIB/USDT', 0.00001234, 2)]).toEqual([
    '0.03840',
    '$1,234.50',
    '$0.00001234',
  ])
  expect([percent(1.234), percent(-0.5, 3), percent(0)]).toEqual(['+1.23%', '-0.500%', '0.00%'])
  expect([short(12), short(0.75), short(12_345), short(4_560_000)]).toEqual(['12', '0.7500', '12.3k', '4.56M'])
  expect([duration(3), duration(1234), duration(45_600), duration(600_000)]).toEqual(['3 ms', '1.2 s', '46 s', '10 min'])
  expect([latency(820), latency(17_300), latency(1_200_000), latency(3e9)]).toEqual(['820 ns', '17.3 µs', '1.2 ms', '3.0 s'])
})

test('every component can be rendered on a server', () => {
  vi.stubGlobal('window', undefined)
  vi.stubGlobal('document', undefined)
  const html = renderToString(
    <>
      <LivePricesPanel symbol={BTC} exchanges={['okx']} />
      <LivePricesWidget symbol={BTC} exchanges={['okx']} />
      <MarketPrices pairs={[BTC]} />
      <PriceGrid symbols={[BTC]} exchanges={['okx']} />
      <OpportunityTable opportunities={[]} />
      <SpreadChart symbol={BTC} exchanges={['okx', 'binance']} />
      <MidChart symbol={BTC} exchanges={['okx']} />
      <LatencyChart />
      <SurvivalChart />
      <PrecisionTable />
      <StatsPanel />
    </>,
  )
  expect(html).toContain('Live Prices')
  expect(html).not.toMatch(/undefined|NaN/)
})
