// Shared by the tests: a gateway without a network that follows docs/protocol.md, and a hand-turned clock.
import { vi } from 'vitest'
import type { ArbitrageMessage, BookMessage, ClientMessage, OpportunityMessage, PriceMessage } from '../src/core/messages.js'

/** Stops the clock until `vi.advanceTimersByTime`; frames come every 16 ms. */
export function holdTime(): void {
  vi.useFakeTimers({
    now: 1_700_000_000_000,
    toFake: [
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'Date',
      'performance',
      'requestAnimationFrame',
      'cancelAnimationFrame',
    ],
  })
}

/** Answers `/ws/prices` and sends what a test wants. */
export class FakeGateway {
  /** All sockets, open and closed. */
  sockets: FakeSocket[] = []
  /** All received frames of all sockets. */
  heard: ClientMessage[] = []
  /** The response to new connections. */
  mood: 'accepting' | 'refusing' | 'mute' = 'accepting'
  /** Whether requests are answered. */
  answers = true
  /** The limits of one client, as configured. */
  limits = { pairs: Infinity, names: Infinity, bytes: Infinity }
  /** The error for a name; `false` if it is accepted. */
  refuses: (name: string) => string | false = () => false
  /** Number of rejected requests. */
  refused = 0
  readonly WebSocket: new (url: string) => FakeSocket

  constructor() {
    const open = (url: string) => new FakeSocket(this, url)
    this.WebSocket = function (url: string) {
      return open(url)
    } as unknown as new (url: string) => FakeSocket
  }

  /** Sockets that are open or opening. */
  get open(): FakeSocket[] {
    return this.sockets.filter((socket) => !socket.isClosed)
  }

  /** The only open socket. */
  get socket(): FakeSocket {
    const [socket, ...more] = this.open
    if (!socket || more.length > 0) throw new Error(`${this.open.length} sockets are open`)
    return socket
  }

  /** Sends `text` to every open socket. */
  say(text: string): void {
    this.open.forEach((socket) => socket.say(text))
  }

  price(symbol: string, exchange: string, bid: number, ask: number, more: Partial<PriceMessage> = {}): void {
    const message: PriceMessage = { type: 'price', symbol, exchange, bid, ask, timestamp: Date.now(), ...more }
    this.say(JSON.stringify(message))
  }

  /** A book with `levels` levels per side around 100. */
  book(symbol: string, exchange: string, levels: number, more: Partial<BookMessage> = {}): void {
    const side = (step: number) => Array.from({ length: levels }, (_, at): [number, number] => [100 + step * (at + 1), at + 1])
    const message: BookMessage = {
      type: 'book',
      symbol,
      exchange,
      state: 'live',
      bids: side(-1),
      asks: side(1),
      sequence: 7,
      exchangeTime: Date.now(),
      ageMs: 1,
      source: 'live',
      voids: 0,
      timestamp: Date.now(),
      ...more,
    }
    this.say(JSON.stringify(message))
  }

  alert(symbol: string, buyExchange: string, sellExchange: string, spreadPct: number, more: Partial<ArbitrageMessage> = {}): void {
    const sellPrice = 100 + spreadPct
    const message: ArbitrageMessage = {
      type: 'arbitrage',
      symbol,
      buyExchange,
      sellExchange,
      buyPrice: 100,
      sellPrice,
      spreadPct,
      profit: spreadPct * 100,
      timestamp: Date.now(),
      ...more,
    }
    this.say(JSON.stringify(message))
  }

  opportunity(...parts: Parameters<typeof opportunityText>): void {
    this.say(opportunityText(...parts))
  }
}

export class FakeSocket {
  onopen: ((event: unknown) => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  onerror: ((event: unknown) => void) | null = null
  isClosed = false
  isOpen = false
  /** Whether the client closed it. */
  wasClosed = false
  symbols = new Set<string>()
  exchanges = new Set<string>()
  /** Levels by `SYMBOL exchange`, at most 20. */
  books = new Map<string, number>()

  constructor(
    readonly gateway: FakeGateway,
    readonly url: string,
  ) {
    gateway.sockets.push(this)
    setTimeout(() => {
      if (this.isClosed || gateway.mood === 'mute') return
      if (gateway.mood === 'refusing') return this.drop(1006)
      this.isOpen = true
      this.onopen?.({})
    }, 5)
  }

  send(text: string): void {
    if (!this.isOpen || this.isClosed) throw new Error('said to a socket that is not open')
    const message = JSON.parse(text) as ClientMessage
    this.gateway.heard.push(message)
    const { action, symbols = [], exchanges = [], books, levels = 10 } = message
    const change = action === 'subscribe' ? 'add' : 'delete'
    const refusal = action === 'subscribe' && this.#refusal(message)
    if (refusal) {
      this.gateway.refused += 1
      setTimeout(() => this.say(JSON.stringify({ type: 'error', message: refusal })), 1)
      return
    }
    symbols.forEach((name) => this.symbols[change](name))
    exchanges.forEach((name) => this.exchanges[change](name))
    books?.forEach(({ symbol, exchange }) => {
      const key = `${symbol} ${exchange}`
      if (action === 'subscribe') this.books.set(key, Math.min(levels, 20))
      else this.books.delete(key)
    })
    const asked = [...this.books].map(([key, levels]) => ({ symbol: key.split(' ')[0], exchange: key.split(' ')[1], levels }))
    const reply = {
      type: `${action}d`,
      symbols: [...this.symbols],
      exchanges: [...this.exchanges],
      message: `Successfully ${action}d`,
      ...(books || asked.length > 0 ? { books: asked } : {}),
    }
    if (this.gateway.answers) setTimeout(() => this.say(JSON.stringify(reply)), 1)
  }

  /** The error message of the gateway, if it rejects the request. */
  #refusal({ symbols = [], exchanges = [], books = [] }: ClientMessage): string | false {
    const { limits, refuses } = this.gateway
    const [s, e] = [new Set([...this.symbols, ...symbols]), new Set([...this.exchanges, ...exchanges])]
    const b = new Set([...this.books.keys(), ...books.map(({ symbol, exchange }) => `${symbol} ${exchange}`)])
    const names = [...s, ...e, ...[...b].flatMap((key) => key.split(' '))]
    if (Math.max(s.size, e.size) > limits.names) return `Too many names: at most ${limits.names} symbols and ${limits.names} exchanges`
    if (s.size * e.size > limits.pairs) return `Too many pairs: at most ${limits.pairs} symbols times exchanges`
    if (s.size * e.size + b.size > limits.pairs) return `Too many books: at most ${limits.pairs} with all pairs`
    const bytes = names.reduce((sum, name) => sum + JSON.stringify(name).length, 0)
    if (bytes > limits.bytes) return `Names too long: at most ${limits.bytes} bytes in all`
    return [...symbols, ...exchanges].map(refuses).find((text) => text !== false) ?? false
  }

  /** As in browsers, the event comes later. */
  close(): void {
    this.wasClosed = true
    if (!this.isClosed) this.drop(1005)
  }

  drop(code: number): void {
    this.isClosed = true
    setTimeout(() => this.onclose?.({ code }), 1)
  }

  say(text: unknown): void {
    if (!this.isClosed) this.onmessage?.({ data: text })
  }
}

/** An EventSource controlled by a test. */
export class FakeEvents {
  static all: FakeEvents[] = []
  onopen: ((event: unknown) => void) | null = null
  onmessage: ((event: { data: string }) => void) | null = null
  onerror: ((event: unknown) => void) | null = null
  readyState = 0

  constructor(readonly url: string) {
    FakeEvents.all.push(this)
  }

  static get open(): FakeEvents[] {
    return FakeEvents.all.filter(({ readyState }) => readyState !== 2)
  }

  say(value: object): void {
    this.readyState = 1
    this.onmessage?.({ data: JSON.stringify(value) })
  }

  connected(): void {
    this.say({ type: 'connected', pairs: [], timestamp: Date.now() })
  }

  price(pair: string, price: number, timestamp = Date.now()): void {
    this.say({ pair, price, bid: price, ask: price, high24h: 1, low24h: 1, change24h: 0, changePercent24h: 0, volume24h: 1, timestamp })
  }

  fail(readyState: 0 | 2): void {
    this.readyState = readyState
    this.onerror?.({})
  }

  close(): void {
    this.readyState = 2
  }
}

/** The text of an opportunity message. */
export function opportunityText(
  change: OpportunityMessage['change'],
  id: string,
  spreadPct: number,
  more: Partial<OpportunityMessage> = {},
): string {
  const message: OpportunityMessage = {
    type: 'opportunity',
    change,
    id,
    symbol: 'BTC/USDT',
    buyExchange: 'binance',
    sellExchange: 'okx',
    buyPrice: 100,
    sellPrice: 100 + spreadPct,
    spreadPct,
    netSpreadPct: spreadPct - 0.2,
    executableSize: 1,
    buyAgeMs: 1,
    sellAgeMs: 2,
    openedAt: Date.now(),
    livedMs: 0,
    peakSpreadPct: spreadPct,
    source: 'live',
    timestamp: Date.now(),
    ...more,
  }
  return JSON.stringify(message)
}
