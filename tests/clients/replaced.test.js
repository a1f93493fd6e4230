// The clients of the replaced systems as they behave on the wire, with their bugs: pages that are no longer maintained must
// continue to work.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EventSource } from 'eventsource'
import { WebSocket } from 'ws'
import { Venue, every, leftovers, serveOn, until } from './rig.js'

/** The WebSocket hook: sends its whole union with each request and makes five attempts, each after three seconds or by the test. */
class OldHook {
  prices = new Map()
  alerts = []
  /** All accepted prices, in order. */
  accepted = []
  /** Replies to its requests. */
  replies = []
  closes = []
  error = null
  attempts = 0
  /** Connections that were lost or refused. */
  failed = 0
  opened = 0

  constructor(address, symbols = [], exchanges = []) {
    Object.assign(this, { url: `ws://${address}/ws/prices`, symbols: new Set(symbols), exchanges: new Set(exchanges) })
    leftovers.add(() => this.unmount())
    this.connect()
  }

  get isConnected() {
    return this.socket?.readyState === WebSocket.OPEN
  }

  connect() {
    const socket = new WebSocket(this.url)
    this.socket = socket
    socket.on('error', () => {})
    socket.on('open', () => {
      this.opened++
      this.error = null
      this.attempts = 0
      if (this.symbols.size > 0 || this.exchanges.size > 0) this.sendUnion(socket)
    })
    socket.on('message', (bytes) => this.accept(JSON.parse(bytes.toString())))
    socket.on('close', (code) => {
      this.closes.push(code)
      this.lost(socket)
    })
  }

  lost() {
    if (this.isUnmounted || this.attempts >= 5) return
    this.attempts++
    this.failed++
    if (!this.isHeld) this.timer = setTimeout(() => this.connect(), 3000)
  }

  sendUnion(socket) {
    socket.send(JSON.stringify({ action: 'subscribe', symbols: [...this.symbols], exchanges: [...this.exchanges] }))
  }

  subscribe(symbols, exchanges) {
    symbols.forEach((name) => this.symbols.add(name))
    exchanges.forEach((name) => this.exchanges.add(name))
    if (this.isConnected) this.sendUnion(this.socket)
  }

  unsubscribe(symbols, exchanges) {
    symbols.forEach((name) => this.symbols.delete(name))
    exchanges.forEach((name) => this.exchanges.delete(name))
    if (this.isConnected) this.socket.send(JSON.stringify({ action: 'unsubscribe', symbols, exchanges }))
  }

  accept(message) {
    if (message.type === 'price') {
      if (!message.symbol || message.exchange === undefined || message.bid === undefined || message.ask === undefined) return
      this.prices.set(`${message.symbol}:${message.exchange}`, message)
      this.accepted.push(message)
    } else if (message.type === 'arbitrage') {
      if (!message.symbol || !message.buyExchange || !message.sellExchange) return
      if ([message.buyPrice, message.sellPrice, message.spreadPct].includes(undefined)) return
      this.alerts = [message, ...this.alerts].slice(0, 100)
    } else if (message.type === 'error') {
      this.error = message.message
    } else {
      this.replies.push(message)
    }
  }

  unmount() {
    this.isUnmounted = true
    clearTimeout(this.timer)
    this.socket.terminate()
  }
}

/** The hook with its reconnect bug: each request opens a socket, and the close of the previous one opens a third with the old subscription. */
class ReopeningHook extends OldHook {
  others = []

  subscribe(symbols, exchanges) {
    const before = [[...this.symbols], [...this.exchanges]]
    super.subscribe(symbols, exchanges)
    const old = this.socket
    this.lost = (socket) => {
      if (socket === old && !this.isUnmounted) this.timer = setTimeout(() => this.others.push(new OldHook(this.url.split('/')[2], ...before)), 3000)
    }
    this.connect()
    old.close()
  }

  unmount() {
    super.unmount()
    this.others.forEach((hook) => hook.unmount())
  }
}

/** The panel: three hooks for prices, alerts and the comparison, each with its own socket. */
const panel = (address, symbol, exchanges) => ({
  prices: new OldHook(address, [symbol], exchanges),
  monitor: new OldHook(address, [symbol], []),
  comparison: new OldHook(address, [symbol], exchanges),
  get all() {
    return [this.prices, this.monitor, this.comparison]
  },
})

/** The stream hook: each price restarts its debounce, and each draw with an inline array opens an EventSource. */
class OldStreamHook {
  pending = new Map()
  prices = new Map()
  /** All states given to the component. */
  states = []
  opened = 0

  constructor(address, pairs) {
    this.url = `http://${address}/api/market-data/stream?pairs=${encodeURIComponent(pairs.join(','))}`
    leftovers.add(() => this.unmount())
    this.draw()
  }

  draw() {
    this.source?.close()
    clearTimeout(this.timer)
    this.opened++
    this.isConnected = false
    this.source = new EventSource(this.url)
    this.source.onmessage = ({ data }) => {
      const update = JSON.parse(data)
      if (update.type === 'connected') return (this.isConnected = true)
      if (!update.pair || typeof update.price !== 'number') return
      this.pending.set(update.pair, update)
      clearTimeout(this.timer)
      this.timer = setTimeout(() => {
        this.prices = new Map(this.pending)
        this.states.push(this.prices)
      }, 500)
    }
    this.source.onerror = () => (this.isConnected = false)
  }

  unmount() {
    clearTimeout(this.timer)
    this.source.close()
  }
}

const BTC = 'BTC/USDT'
const DAY = { last: '100', high: '110', low: '90', change: '1', changePercent: '1', volume: '5' }

describe('pages of the replaced systems', { concurrency: true }, () => {
  test('a panel of three sockets receives every price, and the alert three times', async () => {
    const [binance, okx] = [await Venue.open('binance'), await Venue.open('okx')]
    const server = await serveOn([binance, okx], [BTC])
    binance.quote(BTC, '100', '101')
    okx.quote(BTC, '100', '101')
    const page = panel(server.address, BTC, ['binance', 'okx'])
    await until('prices', () => page.prices.prices.size === 2 && page.comparison.prices.size === 2)
    const wanted = []
    for (let n = 1; n <= 6; n++) {
      binance.quote(BTC, `100.${n}`, '101')
      okx.quote(BTC, `100.0${n}`, '101')
      wanted.push(100 + n / 10)
      // The next change follows after this one is shown, so that none may be skipped.
      const isShown = (hook) => hook.accepted.some(({ exchange, bid }) => exchange === 'binance' && bid === 100 + n / 10)
      await until('the new price', () => isShown(page.prices) && isShown(page.comparison))
    }
    for (const hook of [page.prices, page.comparison]) {
      const bids = [...new Set(hook.accepted.filter(({ exchange }) => exchange === 'binance').map(({ bid }) => bid))]
      assert.deepEqual(bids, [100, ...wanted])
    }
    assert.equal(page.monitor.accepted.length, 0, 'no exchanges, no prices')
    assert.ok(page.all.every(({ alerts }) => alerts.length === 0))

    binance.quote(BTC, '99', '100')
    okx.quote(BTC, '101', '102')
    await until('the alerts', () => page.all.every(({ alerts }) => alerts.length > 0))
    // Further quotes of the open opportunity are shown as prices and make no alert.
    for (const ask of [100.01, 100.02, 100.03]) {
      binance.quote(BTC, '99', `${ask}`)
      await until('the new price', () => page.prices.prices.get(`${BTC}:binance`).ask === ask)
    }
    for (const { alerts, error } of page.all) {
      assert.deepEqual(alerts.map(({ buyExchange, sellExchange, spreadPct }) => [buyExchange, sellExchange, spreadPct]), [['binance', 'okx', 1]])
      assert.equal(error, null)
    }
    // A page that is opened now receives the open opportunity.
    const later = new OldHook(server.address, [BTC])
    await until('the open one', () => later.alerts.length === 1)
    ;[...page.all, later].forEach((hook) => hook.unmount())
    await until('all forgotten', async () => (await server.json('/api/websocket/stats')).value.stats.clientCount === 0)
    await server.stop()
    ;[binance, okx].forEach((venue) => venue.close())
  })

  test('a client that sends its whole union with each request has all prices and no error', async () => {
    const symbols = Array.from({ length: 30 }, (_, n) => `U${n}/USDT`)
    const venue = await Venue.open('binance')
    const server = await serveOn([venue], symbols)
    symbols.forEach((symbol) => venue.quote(symbol, '1', '2'))
    const hook = new OldHook(server.address)
    await until('the connection', () => hook.isConnected)
    for (const symbol of symbols) hook.subscribe([symbol], ['binance'])
    await until('all prices', () => hook.prices.size === symbols.length)
    hook.unsubscribe(symbols.slice(1), [])
    await until('the reply', () => hook.replies.at(-1)?.type === 'unsubscribed')
    hook.accepted.length = 0
    await until('prices', () => hook.accepted.length >= 4)
    assert.deepEqual([...new Set(hook.accepted.map(({ symbol }) => symbol))], ['U0/USDT'])
    assert.equal(hook.error, null)
    hook.unmount()
    await server.stop()
    venue.close()
  })

  test('a hook that opens a socket with each request: the new socket and the old one have their subscriptions', async () => {
    const venue = await Venue.open('binance')
    const server = await serveOn([venue], [BTC, 'ETH/USDT'])
    for (const symbol of [BTC, 'ETH/USDT']) venue.quote(symbol, '1', '2')
    const hook = new ReopeningHook(server.address, [BTC], ['binance'])
    await until('a price', () => hook.prices.size === 1)
    hook.subscribe(['ETH/USDT'], [])
    await until('both', () => hook.isConnected && hook.prices.size === 2)
    const [stray] = await until('the stray one', () => hook.others.length > 0 && hook.others)
    await until('its price', () => stray.prices.size > 0)
    assert.deepEqual([...stray.prices.keys()], ['BTC/USDT:binance'])
    assert.equal((await server.json('/api/websocket/stats')).value.stats.clientCount, 2)
    hook.unmount()
    await server.stop()
    venue.close()
  })

  test('a restart: panels reconnect within their five attempts and receive open opportunities again', async () => {
    const [binance, okx] = [await Venue.open('binance'), await Venue.open('okx')]
    const instruments = [BTC]
    const server = await serveOn([binance, okx], instruments)
    binance.quote(BTC, '99', '100')
    okx.quote(BTC, '101', '102')
    binance.day(BTC, DAY)
    const stop = every(1000, () => [binance, okx].forEach((venue) => venue.repeat()))
    const pages = Array.from({ length: 5 }, () => panel(server.address, BTC, ['binance', 'okx']))
    const hooks = pages.flatMap(({ all }) => all)
    hooks.forEach((hook) => Object.assign(hook, { isHeld: true }))
    const stream = new OldStreamHook(server.address, [BTC])
    const isServed = ({ exchanges, prices, alerts }) => alerts.length > 0 && prices.size === exchanges.size
    await until('everything', () => hooks.every(isServed) && stream.prices.size === 1)

    assert.equal(await server.stop(), 0)
    await until('the loss', () => hooks.every(({ closes }) => closes.length === 1))
    assert.deepEqual([...new Set(hooks.flatMap(({ closes }) => closes))], [1001])
    hooks.forEach((hook) => Object.assign(hook, { prices: new Map(), alerts: [] }))
    stream.states.length = 0
    // The first attempt of each hook fails. The second follows when the gateway is running again.
    const attempt = () => hooks.forEach((hook) => hook.connect())
    attempt()
    await until('the refusals', () => hooks.every(({ failed }) => failed === 2))
    const again = await serveOn([binance, okx], instruments, '', { port: Number(server.address.split(':')[1]) })
    attempt()
    await until('everything again', () => hooks.every(isServed) && stream.states.length > 0)
    assert.ok(hooks.every(({ opened, error }) => opened === 2 && error === null))
    stop()
    ;[...hooks, stream].forEach((hook) => hook.unmount())
    await again.stop()
    ;[binance, okx].forEach((venue) => venue.close())
  })

  test('a debounce that each price restarts still shows all pairs every second', async () => {
    const pairs = ['A/USDT', 'B/USDT', 'C/USDT', 'D/USDT']
    const venue = await Venue.open('binance')
    const server = await serveOn([venue], pairs)
    const quote = (n) => pairs.forEach((pair) => venue.quote(pair, String(1000 + n), '2000'))
    quote(1)
    pairs.forEach((pair) => venue.day(pair, DAY))
    const hook = new OldStreamHook(server.address, pairs)
    let n = 1
    // Prices without a pause: if each were sent at once, the hook would never show one.
    const stop = every(50, () => quote(++n))
    await until('the first', () => hook.states.length > 0)
    hook.states.length = 0
    await until('some more', () => hook.states.length >= 4)
    stop()
    assert.ok(hook.states.every((prices) => prices.size === 4))
    await until('the last', () => pairs.every((pair) => hook.prices.get(pair).bid === 1000 + n))
    hook.unmount()
    await server.stop()
    venue.close()
  })

  test('inline arrays: each new stream has all pairs at once, and thousands of them leave no connection open', async () => {
    const pairs = ['A/USD', 'A/USDT', 'B/USDT']
    const venue = await Venue.open('binance')
    const server = await serveOn([venue], ['A/USDT', 'B/USDT'])
    for (const pair of ['A/USDT', 'B/USDT']) {
      venue.quote(pair, '1', '2')
      venue.day(pair, DAY)
    }
    const hook = new OldStreamHook(server.address, pairs)
    await until('all pairs', () => hook.prices.size === 3)
    // A component that is drawn more often than bursts come: it receives only the first burst of each stream.
    for (let n = 2; n <= 6; n++) {
      for (const pair of ['A/USDT', 'B/USDT']) venue.quote(pair, `1.0${n}`, '2')
      hook.draw()
      await until('the new prices', () => pairs.every((pair) => hook.prices.get(pair).bid === 1 + n / 100))
    }
    for (let n = 0; n < 1500; n++) {
      hook.draw()
      if (n % 50 === 0) await until('a connection', () => hook.isConnected)
    }
    const streams = async () => (await server.json('/api/market-data/health')).value.scaling.activeConnections
    await until('one stream', async () => (await streams()) === 1)
    hook.states.length = 0
    await until('its prices', () => hook.states.length > 0)
    hook.unmount()
    await until('none', async () => (await streams()) === 0)
    await server.stop()
    venue.close()
  })
})
