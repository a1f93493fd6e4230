// Which alerts clients receive and when: threshold, debounce, clients that connect later, exact figures.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Venue, serveOn, sleep, until } from './rig.js'

const SYMBOLS = Array.from({ length: 20 }, (_, n) => `A${n}/USDT`)
const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.abs(b)

describe('by default', { concurrency: true }, () => {
  let binance, okx, bybit, kraken, venues, server
  let taken = 0
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
    const before = Date.now()
    binance.quote(symbol, '99.5', '100.00')
    okx.quote(symbol, '101.25', '101.5')
    const { text, value } = await client.next()
    assert.match(text, /^\{"type":"arbitrage","symbol":"A\d+\/USDT","buyExchange":"binance","sellExchange":"okx","buyPrice":100,"sellPrice":101.25,"spreadPct":1.25,"profit":125,"timestamp":\d{13}\}$/)
    assert.ok(value.timestamp >= before - 50 && value.timestamp <= Date.now() + 50)
    await client.close()
  })

  test('all who have the symbol, whatever their exchanges, each in its spelling; nobody else', async () => {
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
    assert.deepEqual(await stranger.collect(200), [])
    await Promise.all(clients.map((client) => client.close()))
  })

  test('the threshold is 0.5 %, and exactly 0.5 % is not above it', async () => {
    const [symbol, tiny] = [fresh(), fresh()]
    const client = await server.client()
    await client.subscribe([symbol, tiny], [])
    binance.quote(symbol, '99', '100')
    okx.quote(symbol, '100.5', '101')
    // Exact where floats are not: 0.5 % above 0.0000003 is 0.0000003015.
    binance.quote(tiny, '0.0000002', '0.0000003')
    okx.quote(tiny, '0.0000003015', '0.0000004')
    assert.deepEqual(await client.collect(600), [])
    okx.quote(symbol, '100.50000001', '101')
    assert.equal((await client.next()).value.sellPrice, 100.50000001)
    await client.close()
  })

  test('the same symbol, buy and sell exchange once a minute; another direction is another', async () => {
    const symbol = fresh()
    const client = await server.client()
    await client.subscribe([symbol], [])
    binance.quote(symbol, '99', '100')
    okx.quote(symbol, '102', '103')
    assert.equal((await client.next()).value.buyExchange, 'binance')
    okx.quote(symbol, '104', '105')
    okx.quote(symbol, '99', '100')
    okx.quote(symbol, '102', '103')
    assert.deepEqual(await client.collect(800), [], 'repeated within the minute')
    okx.quote(symbol, '94', '95')
    const { value } = await client.next()
    assert.deepEqual([value.buyExchange, value.sellExchange, value.buyPrice, value.sellPrice], ['okx', 'binance', 95, 99])
    await client.close()
  })

  test('who joins later hears of what is open, by the prices of now, and of nothing that closed', async () => {
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
    assert.deepEqual(await late.collect(300), [])
    await Promise.all([first.close(), late.close()])
  })

  test('one dear exchange of four: an alert for each pair', async () => {
    const symbol = fresh()
    const client = await server.client()
    await client.subscribe([symbol], [])
    for (const venue of [binance, okx, bybit]) venue.quote(symbol, '99.9', '100')
    kraken.quote(symbol, '102', '103')
    const alerts = [await client.next(), await client.next(), await client.next()].map(({ value }) => value)
    assert.deepEqual(alerts.map((alert) => alert.buyExchange).toSorted(), ['binance', 'bybit', 'okx'])
    assert.ok(alerts.every((alert) => alert.sellExchange === 'kraken' && alert.spreadPct === 2))
    assert.deepEqual(await client.collect(300), [])
    await client.close()
  })

  test('extended clients hear net spread after both fees, the smaller size, ages and source', async () => {
    const symbol = fresh()
    const [plain, extended] = [await server.client(), await server.client()]
    await plain.subscribe([symbol], [])
    await extended.subscribe([symbol], [], { extended: true })
    binance.quote(symbol, '99', '100', { askSize: '2.5' })
    okx.quote(symbol, '102', '103', { bidSize: '0.750' })
    const { value } = await extended.next()
    const keys = Object.keys(value)
    assert.deepEqual(keys.slice(8), ['timestamp', 'netSpreadPct', 'executableSize', 'buyAgeMs', 'sellAgeMs', 'source', 'id', 'group', 'groupLeg', 'groupSize'])
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
    assert.deepEqual(await client.collect(500), [])
    await client.close()
  })

  test('an alert does not wait for the beat', async () => {
    const symbols = Array.from({ length: 5 }, fresh)
    const client = await server.client()
    // With a beat of a minute, what waited for it would not be here in time.
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
    const server = await serveOn(venues, ['BTC/USDT', 'ETH/USDT'], `[detector]\n${detector}\n${more}`)
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
    assert.deepEqual(await client.collect(500), [])
    okx.quote('ETH/USDT', '1006.00001', '1010')
    const { value } = await client.next()
    assert.equal(value.symbol, 'ETH/USDT')
    assert.ok(value.netSpreadPct > 0.5)
    await client.close()
    await close()
  })

  test('threshold and debounce are settings', async () => {
    const { venues: [binance, okx], server, close } = await on('threshold_pct = 2.5\ndebounce_ms = 400')
    const client = await server.client()
    await client.subscribe(['BTC/USDT', 'ETH/USDT'], [])
    binance.quote('BTC/USDT', '99.9', '100')
    okx.quote('BTC/USDT', '102.5', '103')
    binance.quote('ETH/USDT', '99.9', '100')
    okx.quote('ETH/USDT', '102.6', '103')
    // A leg counts for five seconds only.
    const beat = setInterval(() => [binance, okx].forEach((venue) => venue.repeat()), 1000)
    // It stays open, and is told again and again.
    const alerts = await client.take(3, 'arbitrage')
    clearInterval(beat)
    assert.ok(alerts.every(({ value }) => value.symbol === 'ETH/USDT'))
    const gaps = alerts.slice(1).map(({ value }, at) => value.timestamp - alerts[at].value.timestamp)
    assert.ok(gaps.every((gap) => gap >= 400), `alerts ${gaps} ms apart`)
    await client.close()
    await close()
  })

  test('old legs and legs of different age make no alert; new ones do', async () => {
    const { venues: [binance, okx], server, close } = await on('leg_age_max_ms = 600\nleg_skew_max_ms = 600\ndebounce_ms = 100')
    const client = await server.client()
    await client.subscribe(['BTC/USDT'], [])
    binance.quote('BTC/USDT', '99', '100')
    await sleep(900)
    okx.quote('BTC/USDT', '102', '103')
    assert.deepEqual(await client.collect(300), [], 'the buy leg is 0.9 s old')
    await sleep(600)
    binance.quote('BTC/USDT', '99', '100')
    assert.deepEqual(await client.collect(300), [], 'now the sell leg is')
    // On a slow machine a leg may be old before the other one is here: quoted until both are young.
    const beat = setInterval(() => {
      binance.quote('BTC/USDT', '99', '100')
      okx.quote('BTC/USDT', '102', '103')
    }, 50)
    assert.equal((await client.next()).value.spreadPct, 2)
    clearInterval(beat)
    await client.close()
    await close()
  })

  test('a stale venue has no price and no alert, a quiet one comes back with its next quote', async () => {
    const { venues: [binance, okx], server, close } = await on('debounce_ms = 100', '[quotes]\nstale_after_ms = 700')
    const [plain, extended] = [await server.client(), await server.client()]
    await plain.subscribe(['BTC/USDT'], ['binance'])
    await extended.subscribe(['BTC/USDT'], ['binance'], { extended: true })
    // On a slow machine a quote may be stale before a beat comes: quoted until somebody heard it.
    let beat = setInterval(() => binance.quote('BTC/USDT', '99', '100'), 50)
    await plain.next('price')
    clearInterval(beat)
    const stale = await extended.next((message) => message.value.state === 'stale')
    assert.equal(stale.value.bid, 99)
    assert.ok(stale.value.ageMs >= 700)
    await Promise.all([plain.flush(), extended.flush()])
    assert.deepEqual(await plain.collect(1100), [], 'a stale price')
    assert.deepEqual((await extended.collect(0)), [], 'the word that it is stale comes once')
    okx.quote('BTC/USDT', '102', '103')
    assert.deepEqual(await plain.collect(200, 'arbitrage'), [], 'an alert with a stale leg')
    beat = setInterval(() => {
      binance.quote('BTC/USDT', '99', '100')
      okx.quote('BTC/USDT', '102', '103')
    }, 50)
    assert.equal((await plain.next('arbitrage')).value.spreadPct, 2)
    clearInterval(beat)
    assert.ok(await extended.next(({ value }) => value.type === 'price' && value.state === 'fresh'))
    await Promise.all([plain.close(), extended.close()])
    await close()
  })

  test('a lost venue is void at once: no price, its opportunities closed; it comes back by itself', async () => {
    const { venues: [binance, okx], server, close } = await on('debounce_ms = 100', '[feed]\nbackoff_first_ms = 50')
    const client = await server.client()
    await client.subscribe(['BTC/USDT'], ['binance', 'okx'])
    binance.quote('BTC/USDT', '99', '100')
    okx.quote('BTC/USDT', '102', '103')
    await client.next('arbitrage')
    await until('prices of both', () => new Set(client.heard.filter((m) => m.value.type === 'price').map((m) => m.value.exchange)).size === 2)
    okx.lose()
    const health = async () => (await server.json('/api/market-data/health')).value
    await until('the loss seen', async () => (await health()).venues.find((v) => v.exchange === 'okx').state === 'reconnecting')
    await client.flush()
    const after = await client.take(3)
    assert.ok(after.every(({ value }) => value.exchange === 'binance'), 'only the living venue speaks')
    const late = await server.client()
    await late.subscribe(['BTC/USDT'], [])
    assert.deepEqual(await late.collect(200), [], 'an opportunity without its leg')
    const { value } = await server.json('/api/exchanges/prices?symbol=BTC/USDT')
    assert.equal(value.prices.okx, null)
    okx.accept()
    assert.equal((await client.next((m) => m.value.exchange === 'okx')).value.bid, 102)
    assert.equal((await late.next('arbitrage')).value.sellExchange, 'okx')
    await Promise.all([client.close(), late.close()])
    await close()
  })
})
