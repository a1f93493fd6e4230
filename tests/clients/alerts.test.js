// Which alerts clients receive and when: threshold, debounce, clients that connect later, exact figures.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Venue, every, isNow, serveOn, until } from './rig.js'

const SYMBOLS = Array.from({ length: 40 }, (_, n) => `A${n}/USDT`)

/**
 * All messages that the quotes sent so far cause: `client` receives them before the alerts of `marker`, which `cheap` offers below
 * the bids of the `dear` venues.
 */
async function settled(client, marker, [cheap, ...dear]) {
  client.send({ action: 'subscribe', symbols: [marker], exchanges: [] })
  const messages = await client.before('subscribed')
  cheap.quote(marker, '99', '100')
  dear.forEach((venue) => venue.quote(marker, '102', '103'))
  for (let n = 0; n < dear.length; n++) messages.push(...(await client.before(({ value }) => value.symbol === marker)))
  return messages
}

const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.abs(b)

describe('by default', { concurrency: true }, () => {
  let binance, okx, bybit, kraken, venues, server
  let taken = 0
  /** A symbol that no other test uses. */
  const fresh = () => SYMBOLS[taken++]

  before(async () => {
    venues = await Promise.all(['binance', 'okx', 'bybit', 'kraken'].map((name) => Venue.open(name, { fee: { binance: 0.1, okx: 0.25 }[name] ?? 0.1 })))
    ;[binance, okx, bybit, kraken] = venues
    server = await serveOn(venues, SYMBOLS)
  })
  after(async () => {
    assert.equal(await server.stop(), 0)
    venues.forEach((venue) => venue.close())
  })

  test('nine fields in order: the ask of one, the bid of the other, percent of the buy price, 100 units', async () => {
    const symbol = fresh()
    const client = await server.client()
    await client.subscribe([symbol], [])
    binance.quote(symbol, '99.5', '100.00')
    okx.quote(symbol, '101.25', '101.5')
    const { text, value } = await client.next()
    assert.match(text, /^\{"type":"arbitrage","symbol":"A\d+\/USDT","buyExchange":"binance","sellExchange":"okx","buyPrice":100,"sellPrice":101.25,"spreadPct":1.25,"profit":125,"timestamp":\d{13}\}$/)
    assert.ok(isNow(value.timestamp))
    await client.close()
  })

  test('an alert goes to all clients with the symbol, for any exchanges and in their spelling, and to no others', async () => {
    const [symbol, other] = [fresh(), fresh()]
    const clients = await Promise.all([1, 2, 3, 4].map(() => server.client()))
    const [none, foreign, lower, stranger] = clients
    await none.subscribe([symbol], [])
    await foreign.subscribe([symbol], ['kraken'])
    await lower.subscribe([symbol.toLowerCase()], ['nowhere'])
    await stranger.subscribe([other], ['binance', 'okx'])
    binance.quote(symbol, '99', '100')
    okx.quote(symbol, '102', '103')
    for (const [client, name] of [[none, symbol], [foreign, symbol], [lower, symbol.toLowerCase()]]) {
      assert.equal((await client.next('arbitrage')).value.symbol, name)
    }
    assert.deepEqual(await stranger.soFar(), [])
    await Promise.all(clients.map((client) => client.close()))
  })

  test('the threshold is 0.5 %, and exactly 0.5 % is not above it', async () => {
    const [symbol, tiny] = [fresh(), fresh()]
    const client = await server.client()
    await client.subscribe([symbol, tiny], [])
    binance.quote(symbol, '99', '100')
    okx.quote(symbol, '100.5', '101')
    // Exact, unlike floating point: 0.5 % above 0.0000003 is 0.0000003015.
    binance.quote(tiny, '0.0000002', '0.0000003')
    okx.quote(tiny, '0.0000003015', '0.0000004')
    assert.deepEqual(await settled(client, fresh(), venues), [])
    okx.quote(symbol, '100.50000001', '101')
    assert.equal((await client.next()).value.sellPrice, 100.50000001)
    await client.close()
  })

  test('the same symbol, buy and sell exchange are alerted once a minute; the other direction is separate', async () => {
    const symbol = fresh()
    const [client, watcher] = [await server.client(), await server.client()]
    await client.subscribe([symbol], [])
    await watcher.subscribe([symbol], ['okx'], { intervalMs: 0 })
    binance.quote(symbol, '99', '100')
    okx.quote(symbol, '102', '103')
    assert.equal((await client.next()).value.buyExchange, 'binance')
    for (const bid of [104, 99, 102]) {
      okx.quote(symbol, `${bid}`, `${bid + 1}`)
      await watcher.next(({ value }) => value.bid === bid)
    }
    // The opportunity was reopened within the minute: the next message is the alert of the other direction.
    okx.quote(symbol, '94', '95')
    const { value } = await client.next()
    assert.deepEqual([value.buyExchange, value.sellExchange, value.buyPrice, value.sellPrice], ['okx', 'binance', 95, 99])
    await Promise.all([client.close(), watcher.close()])
  })

  test('clients that connect later receive open opportunities with current prices, and no closed ones', async () => {
    const [open, closed] = [fresh(), fresh()]
    const first = await server.client()
    await first.subscribe([open, closed], [])
    for (const symbol of [open, closed]) {
      binance.quote(symbol, '99', '100')
      okx.quote(symbol, '102', '103')
      await first.next('arbitrage')
    }
    const follower = await server.client()
    await follower.subscribe([open, closed], [], { opportunities: true, intervalMs: 0 })
    okx.quote(closed, '99', '100')
    okx.quote(open, '103', '104')
    await follower.next((m) => m.value.change === 'closed')
    await follower.next((m) => m.value.type === 'opportunity' && m.value.sellPrice === 103)
    await follower.close()
    const late = await server.client()
    late.send({ action: 'subscribe', symbols: [closed, open], exchanges: [] })
    assert.equal((await late.next()).value.type, 'subscribed')
    const { value } = await late.next()
    assert.deepEqual([value.type, value.symbol, value.sellPrice, value.spreadPct], ['arbitrage', open, 103, 3])
    assert.deepEqual(await late.soFar(), [])
    await Promise.all([first.close(), late.close()])
  })

  test('one expensive exchange of four: an alert for each pair', async () => {
    const symbol = fresh()
    const client = await server.client()
    await client.subscribe([symbol], [])
    for (const venue of [binance, okx, bybit]) venue.quote(symbol, '99.9', '100')
    kraken.quote(symbol, '102', '103')
    const alerts = [await client.next(), await client.next(), await client.next()].map(({ value }) => value)
    assert.deepEqual(alerts.map((alert) => alert.buyExchange).toSorted(), ['binance', 'bybit', 'okx'])
    assert.ok(alerts.every((alert) => alert.sellExchange === 'kraken' && alert.spreadPct === 2))
    assert.deepEqual(await settled(client, fresh(), venues), [])
    await client.close()
  })

  test('extended clients receive the net spread after both fees, the smaller size, ages and source', async () => {
    const symbol = fresh()
    const [plain, extended] = [await server.client(), await server.client()]
    await plain.subscribe([symbol], [])
    await extended.subscribe([symbol], [], { extended: true })
    binance.quote(symbol, '99', '100', { askSize: '2.5' })
    okx.quote(symbol, '102', '103', { bidSize: '0.750' })
    const { value } = await extended.next()
    const keys = Object.keys(value)
    assert.deepEqual(keys.slice(8), ['timestamp', 'netSpreadPct', 'executableSize', 'buyAgeMs', 'sellAgeMs', 'source', 'id', 'group', 'groupLeg', 'groupSize', 'proof', 'proofMs', 'proofErrorMs', 'buyExcessLagMs', 'sellExcessLagMs'])
    assert.ok(near(value.netSpreadPct, (102 * (1 - 0.0025) - 100 * (1 + 0.001)) / 100 * 100), `${value.netSpreadPct}`)
    assert.equal(value.executableSize, 0.75)
    assert.ok(value.buyAgeMs >= 0 && value.sellAgeMs >= 0 && value.source === 'live')
    assert.equal(Object.keys((await plain.next()).value).length, 9)
    await Promise.all([plain.close(), extended.close()])
  })

  test('a missing, crossed or zero side never makes an alert', async () => {
    const symbol = fresh()
    const client = await server.client()
    await client.subscribe([symbol], [])
    binance.quote(symbol, '99', '0')
    okx.quote(symbol, '200', '')
    bybit.quote(symbol, '150', '120')
    kraken.quote(symbol, '110', '111')
    assert.deepEqual(await settled(client, fresh(), venues), [])
    await client.close()
  })

  test('an alert does not wait for the beat', async () => {
    const symbols = Array.from({ length: 5 }, fresh)
    const client = await server.client()
    // The beat is a minute. The tests of the gateway check the times on a hand-turned clock.
    await client.subscribe(symbols, [], { intervalMs: 60_000 })
    for (const symbol of symbols) {
      binance.quote(symbol, '99', '100')
      okx.quote(symbol, '102', '103')
      assert.equal((await client.next()).value.type, 'arbitrage')
    }
    await client.close()
  })
})

describe('as configured', { concurrency: true }, () => {
  const on = async (detector, more = '', fees = {}) => {
    const venues = await Promise.all(['binance', 'okx'].map((name) => Venue.open(name, { fee: fees[name] ?? 0.1 })))
    const server = await serveOn(venues, ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'], `[detector]\n${detector}\n${more}`)
    const close = async () => {
      await server.stop()
      venues.forEach((venue) => venue.close())
    }
    return { venues, server, close }
  }

  test('the threshold can be set on the net spread, and is exact there too', async () => {
    const { venues: [binance, okx], server, close } = await on('threshold_pct = 0.5\nthreshold_on = "net"', '', { binance: 0.1, okx: 0.1 })
    const client = await server.client()
    await client.subscribe(['BTC/USDT', 'ETH/USDT'], [], { extended: true })
    // Gross 0.7 %: not enough after two fees of 0.1 %.
    binance.quote('BTC/USDT', '99', '100')
    okx.quote('BTC/USDT', '100.7', '101')
    binance.quote('ETH/USDT', '998', '999')
    okx.quote('ETH/USDT', '1006', '1010')
    // Net of 1006 against 999 is (1006 × 0.999 − 999 × 1.001) / 999 = 0.5 % exactly.
    assert.deepEqual(await settled(client, 'SOL/USDT', [binance, okx]), [])
    okx.quote('ETH/USDT', '1006.00001', '1010')
    const { value } = await client.next()
    assert.equal(value.symbol, 'ETH/USDT')
    assert.ok(value.netSpreadPct > 0.5)
    await client.close()
    await close()
  })

  test('threshold and debounce are configurable', async () => {
    const { venues: [binance, okx], server, close } = await on('threshold_pct = 2.5\ndebounce_ms = 400')
    const client = await server.client()
    await client.subscribe(['BTC/USDT', 'ETH/USDT'], [])
    binance.quote('BTC/USDT', '99.9', '100')
    okx.quote('BTC/USDT', '102.5', '103')
    binance.quote('ETH/USDT', '99.9', '100')
    okx.quote('ETH/USDT', '102.6', '103')
    const stop = every(100, () => [binance, okx].forEach((venue) => venue.repeat()))
    // By default it would be alerted again after a minute.
    const alerts = await client.take(3, 'arbitrage')
    stop()
    assert.ok(alerts.every(({ value }) => value.symbol === 'ETH/USDT'))
    await client.close()
    await close()
  })

  test('old legs make no alert; new ones do', async () => {
    const { venues: [binance, okx], server, close } = await on('leg_age_max_ms = 600\nleg_skew_max_ms = 600\ndebounce_ms = 100')
    const [client, watcher] = [await server.client(), await server.client()]
    await client.subscribe(['BTC/USDT', 'ETH/USDT'], [])
    await watcher.subscribe(['BTC/USDT'], ['binance', 'okx'], { extended: true })
    const price = (exchange, bid, isOld) =>
      watcher.next(({ value }) => value.exchange === exchange && value.bid === bid && (!isOld || value.ageMs > 600))
    const quoteBoth = (symbol) => {
      binance.quote(symbol, '99', '100')
      okx.quote(symbol, '102', '103')
    }
    // The alerts of ETH show that the detector works; the third from now on was made after all quotes of BTC.
    let stop = every(50, () => quoteBoth('ETH/USDT'))
    const alertsOfBtc = async () => {
      const messages = await client.soFar()
      for (let n = 0; n < 3; n++) messages.push(...(await client.before(({ value }) => value.symbol === 'ETH/USDT')))
      return messages.filter(({ value }) => value.symbol === 'BTC/USDT')
    }
    binance.quote('BTC/USDT', '98', '100')
    await price('binance', 98, true)
    okx.quote('BTC/USDT', '102', '103')
    await price('okx', 102)
    assert.deepEqual(await alertsOfBtc(), [], 'the buy leg is too old')
    await price('okx', 102, true)
    binance.quote('BTC/USDT', '99', '100')
    await price('binance', 99)
    assert.deepEqual(await alertsOfBtc(), [], 'the sell leg is too old')
    stop()
    // On a slow machine one leg may be too old before the other one arrives.
    stop = every(50, () => quoteBoth('BTC/USDT'))
    assert.equal((await client.next(({ value }) => value.symbol === 'BTC/USDT')).value.spreadPct, 2)
    stop()
    await Promise.all([client.close(), watcher.close()])
    await close()
  })

  test('a stale venue has no price and no alert, and recovers with its next quote', async () => {
    const { venues: [binance, okx], server, close } = await on('debounce_ms = 100', '[quotes]\nstale_after_ms = 700')
    const [plain, extended] = [await server.client(), await server.client()]
    await plain.subscribe(['BTC/USDT', 'ETH/USDT'], ['binance'])
    await extended.subscribe(['BTC/USDT'], ['binance', 'okx'], { extended: true })
    const isBtc = ({ value }) => value.symbol === 'BTC/USDT'
    const isEth = ({ value }) => value.symbol === 'ETH/USDT'
    const isAlert = ({ value }) => value.type === 'arbitrage'
    const quoteBoth = (symbol) => {
      binance.quote(symbol, '99', '100')
      okx.quote(symbol, '102', '103')
    }
    // On a slow machine a quote may be stale before the next beat.
    let stop = every(50, () => binance.quote('BTC/USDT', '99', '100'))
    await Promise.all([plain.next(isBtc), extended.next(isBtc)])
    stop()
    // Prices of ETH show that the venue works; after the first of them no quote of BTC is left in a socket.
    stop = every(50, () => binance.quote('ETH/USDT', '99', '100'))
    await plain.next(isEth)
    await until('a page without the price', async () => !(await server.json('/api/exchanges/prices?symbol=BTC/USDT')).value.prices?.binance)
    const { value } = await until('the notice', () => extended.heard.at(-1).value.state === 'stale' && extended.heard.at(-1))
    assert.equal(value.bid, 99)
    assert.ok(value.ageMs >= 700)
    await Promise.all([plain.soFar(), extended.soFar()])
    for (let n = 0; n < 3; n++) assert.deepEqual((await plain.before(isEth)).filter(isBtc), [], 'a stale price')
    assert.deepEqual(await extended.soFar(), [], 'the notice comes once')
    stop()
    okx.quote('BTC/USDT', '102', '103')
    await extended.next(({ value }) => value.exchange === 'okx')
    stop = every(50, () => quoteBoth('ETH/USDT'))
    for (let n = 0; n < 2; n++) {
      const earlier = await plain.before((message) => isEth(message) && isAlert(message))
      assert.deepEqual(earlier.filter(isBtc), [], 'an alert with a stale leg')
    }
    stop()
    stop = every(50, () => quoteBoth('BTC/USDT'))
    assert.equal((await plain.next((message) => isBtc(message) && isAlert(message))).value.spreadPct, 2)
    await extended.next(({ value }) => value.exchange === 'binance' && value.state === 'fresh')
    stop()
    await Promise.all([plain.close(), extended.close()])
    await close()
  })

  test('a lost venue is void at once: no price, its opportunities closed; it recovers automatically', async () => {
    const { venues: [binance, okx], server, close } = await on('debounce_ms = 100', '[feed]\nbackoff_first_ms = 50')
    const client = await server.client()
    await client.subscribe(['BTC/USDT'], ['binance', 'okx'])
    binance.quote('BTC/USDT', '99', '100')
    okx.quote('BTC/USDT', '102', '103')
    await client.next('arbitrage')
    await until('prices of both', () => new Set(client.heard.filter((m) => m.value.type === 'price').map((m) => m.value.exchange)).size === 2)
    okx.lose()
    const shown = async () => (await server.json('/api/exchanges/prices?symbol=BTC/USDT')).value.prices
    await until('the loss', async () => (await shown()).okx === null)
    await client.soFar()
    const after = await client.take(3, 'price')
    assert.ok(after.every(({ value }) => value.exchange === 'binance'), 'only the other venue has prices')
    const late = await server.client()
    await late.subscribe(['BTC/USDT'], [])
    assert.deepEqual(await late.soFar(), [], 'an opportunity without its leg')
    okx.accept()
    assert.equal((await client.next((m) => m.value.exchange === 'okx')).value.bid, 102)
    assert.equal((await late.next('arbitrage')).value.sellExchange, 'okx')
    await Promise.all([client.close(), late.close()])
    await close()
  })
})
