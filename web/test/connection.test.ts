import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { backoff } from '../src/core/backoff.js'
import { Connection, type Interest } from '../src/core/connection.js'
import { pageUrl, setGateway, socketUrl } from '../src/core/environment.js'
import { FakeGateway, holdTime } from './rig.js'

let gateway: FakeGateway
let connection: Connection
const hold = (interest: Interest) => connection.hold(interest)
const pass = (ms: number) => vi.advanceTimersByTime(ms)
const PANEL = { symbols: ['BTC/USDT', 'ETH/USDT'], exchanges: ['binance', 'okx'] }

beforeEach(() => {
  holdTime()
  gateway = new FakeGateway()
  connection = new Connection('ws://gateway/ws/prices', { WebSocket: gateway.WebSocket, random: () => 0.5 })
})
afterEach(() => {
  connection.disconnect()
  vi.useRealTimers()
})

describe('requests', () => {
  test('one request on opening, as the replaced hook sends it', () => {
    hold(PANEL)
    pass(50)
    expect(gateway.heard).toEqual([{ action: 'subscribe', ...PANEL }])
  })

  test('the union of all holders, and only differences when it changes', () => {
    const panel = hold(PANEL)
    pass(500)
    hold({ symbols: ['BTC/USDT'], exchanges: ['binance'] })
    pass(500)
    expect(gateway.heard.length, 'nothing new is wanted').toBe(1)
    const widget = hold({ symbols: ['SOL/USDT'], exchanges: ['kraken', 'okx'] })
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', symbols: ['SOL/USDT'], exchanges: ['kraken'] })
    panel.end()
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'unsubscribe', symbols: ['ETH/USDT'], exchanges: [] })
    widget.end()
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'unsubscribe', symbols: ['SOL/USDT'], exchanges: ['okx', 'kraken'] })
    expect([...gateway.socket.symbols, ...gateway.socket.exchanges]).toEqual(['BTC/USDT', 'binance'])
  })

  test('ending a hold twice does not affect other holders', () => {
    const panel = hold(PANEL)
    hold(PANEL)
    pass(500)
    panel.end()
    panel.end()
    pass(500)
    expect(gateway.heard.length).toBe(1)
  })

  test('200 components that mount together cause one request, and a busy page stays below 20 per second', () => {
    for (let n = 0; n < 30; n++) hold({ symbols: [`S${n}/USDT`], exchanges: ['okx'] })
    pass(100)
    expect(gateway.heard.length).toBe(1)
    gateway.heard = []
    for (let n = 0; n < 200; n++) {
      hold({ symbols: [`T${n}/USDT`], exchanges: ['okx'] }).end()
      hold({ symbols: [`U${n}/USDT`], exchanges: ['okx'] })
      pass(5)
    }
    expect(gateway.heard.length).toBeLessThan(20)
    pass(500)
    expect(gateway.socket.symbols.size).toBe(230)
  })

  test('plain requests unless a holder wants more', () => {
    hold(PANEL)
    pass(50)
    expect(Object.keys(gateway.heard[0]!)).toEqual(['action', 'symbols', 'exchanges'])
  })

  test('options are the most demanding of all holders, and end with their holder', () => {
    hold(PANEL)
    const eager = hold({ ...PANEL, intervalMs: 100, extended: true })
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', ...PANEL, intervalMs: 100, extended: true })
    hold({ symbols: ['BTC/USDT'], opportunities: true, intervalMs: 1000 })
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', symbols: [], exchanges: [], opportunities: true })
    eager.end()
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', symbols: [], exchanges: [], intervalMs: 500, extended: false })
  })

  test('the weakest proof of all holders of symbols is requested', () => {
    const strict = hold({ symbols: ['BTC/USDT'], minProof: 'proven' })
    hold({ books: [{ symbol: 'BTC/USDT', exchange: 'okx' }] })
    pass(500)
    expect(gateway.heard[0]).toEqual({ action: 'subscribe', symbols: ['BTC/USDT'], exchanges: [], minProof: 'proven' })
    const mild = hold({ symbols: ['BTC/USDT'], minProof: 'likely' })
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', symbols: [], exchanges: [], minProof: 'likely' })
    mild.end()
    hold({ symbols: ['BTC/USDT'] })
    strict.end()
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', symbols: [], exchanges: [], minProof: 'none' })
  })

  test('a slower beat than the default is used when no holder wants a faster one', () => {
    hold({ ...PANEL, intervalMs: 2000 })
    pass(50)
    expect(gateway.heard[0]).toMatchObject({ intervalMs: 2000 })
  })

  test('without a beat it requests notices of stale prices', () => {
    hold({ ...PANEL, intervalMs: 0 })
    pass(50)
    expect(gateway.heard[0]).toMatchObject({ intervalMs: 0, extended: true })
  })

  test('a thousand long names fit into the frames that the gateway accepts', () => {
    const sent: string[] = []
    const { WebSocket } = gateway
    connection = new Connection('ws://gateway/ws/prices', {
      WebSocket: class extends WebSocket {
        override send(text: string) {
          sent.push(text)
          super.send(text)
        }
      },
    })
    const symbols = Array.from({ length: 1000 }, (_, n) => `${n}`.padEnd(64, '\u0001'))
    connection.hold({ symbols, exchanges: symbols })
    pass(2000)
    expect(Math.max(...sent.map((text) => text.length))).toBeLessThan(65_536)
    expect(gateway.socket.symbols.size).toBe(1000)
    expect(gateway.socket.exchanges.size).toBe(1000)
    expect(sent.length, 'at once the gateway takes 40').toBeLessThan(40)
  })

  test('a name that the gateway would reject does not affect the others', () => {
    hold({ symbols: ['BTC/USDT', '', 'x'.repeat(65), '€'.repeat(22)], exchanges: ['okx'] })
    pass(50)
    expect(gateway.heard).toEqual([{ action: 'subscribe', symbols: ['BTC/USDT'], exchanges: ['okx'] }])
  })

  test('after a rejection the next request contains everything that the gateway lacks', () => {
    hold({ symbols: ['BTC/USDT'], exchanges: ['okx'] })
    pass(500)
    gateway.answers = false
    const large = hold({ symbols: ['ETH/USDT', 'SOL/USDT'], exchanges: [] })
    pass(500)
    gateway.socket.symbols = new Set(['BTC/USDT'])
    gateway.say('{"type":"error","message":"Not today"}')
    expect(connection.error).toBe('Not today')
    gateway.answers = true
    hold({ symbols: ['ETH/USDT'] })
    large.end()
    pass(500)
    expect([...gateway.socket.symbols]).toEqual(['BTC/USDT', 'ETH/USDT'])
  })

  test('options of a rejected request are sent again', () => {
    hold({ symbols: ['BTC/USDT'] })
    pass(500)
    gateway.answers = false
    hold({ symbols: ['ETH/USDT'], intervalMs: 100 })
    pass(500)
    gateway.socket.symbols.delete('ETH/USDT')
    gateway.say('{"type":"error","message":"Not today"}')
    hold({ symbols: ['SOL/USDT'] })
    pass(500)
    expect(gateway.heard.at(-1)).toEqual({ action: 'subscribe', symbols: ['SOL/USDT'], exchanges: [], intervalMs: 100 })
  })

  test('every option of a rejected request is sent again, and no other', () => {
    hold({ symbols: ['BTC/USDT'], opportunities: true })
    pass(500)
    gateway.answers = false
    hold({ symbols: ['ETH/USDT'], intervalMs: 100, extended: true })
    pass(500)
    gateway.socket.symbols.delete('ETH/USDT')
    gateway.say('{"type":"error","message":"Not today"}')
    hold({ symbols: ['SOL/USDT'] })
    pass(500)
    const expected = { action: 'subscribe', symbols: ['SOL/USDT'], exchanges: [], intervalMs: 100, extended: true }
    expect(gateway.heard.at(-1)).toEqual(expected)
  })

  test('after the error Too many messages it pauses and requests again', () => {
    hold(PANEL)
    pass(500)
    gateway.answers = false
    hold({ symbols: ['SOL/USDT'] })
    pass(500)
    gateway.socket.symbols.delete('SOL/USDT')
    gateway.say('{"type":"error","message":"Too many messages: 20 a second"}')
    gateway.answers = true
    pass(900)
    expect(gateway.socket.symbols.has('SOL/USDT')).toBe(false)
    pass(500)
    expect(gateway.socket.symbols.has('SOL/USDT')).toBe(true)
  })
})

describe('more than the gateway accepts', () => {
  const many = (count: number, name: string) => Array.from({ length: count }, (_, n) => `${name}${n}`)
  const served = () => [gateway.socket.symbols.size, gateway.socket.exchanges.size]
  let errors: string[]
  beforeEach(() => {
    errors = []
    connection.on('error', ({ message }) => errors.push(message))
    gateway.limits = { pairs: 4096, names: 1024, bytes: 48 * 1024 }
  })

  test('1,500 symbols on 6 exchanges: what fits is subscribed, one error is reported, and nothing is requested again', () => {
    hold({ symbols: many(1500, 'S'), exchanges: many(6, 'x') })
    pass(10_000)
    expect(served()).toEqual([682, 6])
    expect(errors).toEqual(['Too many pairs: at most 4096 symbols times exchanges'])
    expect(connection.error).toBe(errors[0])
    expect(gateway.refused, 'ten end the connection').toBeLessThan(10)
    gateway.heard = []
    for (let n = 0; n < 100; n++) {
      gateway.price('S0', 'x0', 1, 2)
      pass(600)
    }
    expect([gateway.heard, gateway.sockets.length]).toEqual([[], 1])
  })

  test('the limit is remembered over a reconnect: nothing is rejected again', () => {
    hold({ symbols: many(1500, 'S'), exchanges: many(6, 'x') })
    pass(10_000)
    const refused = gateway.refused
    for (let n = 0; n < 10; n++) {
      gateway.socket.drop(1006)
      pass(10_000)
    }
    expect([...served(), gateway.refused]).toEqual([682, 6, refused])
    expect([connection.state, connection.error]).toEqual(['connected', 'Too many pairs: at most 4096 symbols times exchanges'])
    expect(errors.length).toBe(1)
  })

  test('a subscription that shrinks below the limit is complete without an error; above it there is one error again', () => {
    hold({ symbols: many(600, 'S'), exchanges: many(6, 'x') })
    pass(5000)
    const more = hold({ symbols: many(900, 'T') })
    pass(5000)
    expect(served()).toEqual([682, 6])
    more.end()
    pass(5000)
    expect([...served(), connection.error]).toEqual([600, 6, null])
    gateway.limits = { ...gateway.limits, pairs: 6000, names: 5000 }
    hold({ symbols: many(900, 'T') })
    pass(5000)
    expect([...served(), connection.error]).toEqual([1000, 6, 'Too many pairs: at most 6000 symbols times exchanges'])
    expect(errors.length).toBe(2)
  })

  test('names of a kind and bytes are limits too, and books take precedence over pairs', () => {
    hold({ symbols: many(3000, 'S'), exchanges: ['x'] })
    pass(10_000)
    expect(served()).toEqual([1024, 1])
    gateway.limits = { pairs: 100, names: 1024, bytes: 1000 }
    connection.disconnect()
    connection.connect()
    pass(10_000)
    expect(gateway.socket.symbols.size).toBeGreaterThan(90)
    hold({ books: [{ symbol: 'S0', exchange: 'x' }] })
    pass(5000)
    expect([...gateway.socket.books.keys()]).toEqual(['S0 x'])
    expect(gateway.socket.symbols.size).toBeGreaterThan(90)
    expect(errors.length).toBeLessThanOrEqual(4)
  })

  test('a subscription that shrinks while the rejection is in flight is complete', () => {
    const [few, more] = [hold({ symbols: many(600, 'S'), exchanges: many(6, 'x') }), hold({ symbols: many(900, 'T') })]
    while (gateway.refused === 0) pass(1)
    more.end()
    pass(5000)
    expect([...served(), connection.error, errors]).toEqual([600, 6, null, []])
    few.end()
  })

  test.each([
    'Too many names: a subscription may take at most 4194304 bytes of memory here',
    "Too many names: there is no memory left for all clients' subscriptions",
    'Too many pairs: at most 999999 symbols times exchanges',
  ])('%s: what was accepted stays, the rest is not requested again', (message) => {
    hold({ symbols: many(300, 'S'), exchanges: ['x'] })
    pass(5000)
    gateway.refuses = (name) => name.startsWith('T') && message
    hold({ symbols: many(1000, 'T') })
    pass(60_000)
    expect([...served(), connection.error, gateway.sockets.length]).toEqual([300, 1, message, 1])
    expect(gateway.refused).toBeLessThan(10)
  })

  test('a request that was rejected for an unknown reason is not repeated until the subscription shrinks', () => {
    hold({ symbols: ['BTC/USDT'], exchanges: ['okx'] })
    pass(500)
    gateway.refuses = (name) => name.startsWith('T') && 'Not in this house'
    const more = hold({ symbols: many(1000, 'T') })
    for (let n = 0; n < 10; n++) {
      hold({ symbols: [`U${n}`] })
      pass(1000)
    }
    expect(gateway.refused).toBeLessThan(10)
    expect([gateway.sockets.length, gateway.socket.symbols.has('U9')]).toEqual([1, true])
    gateway.refuses = () => false
    more.end()
    hold({ symbols: ['T1'] })
    pass(1000)
    expect(gateway.socket.symbols.has('T1')).toBe(true)
  })
})

describe('the life of a connection', () => {
  test('the connection opens with the first holder and closes after the last one', () => {
    expect(connection.state).toBe('idle')
    const panel = hold(PANEL)
    pass(50)
    expect(connection.state).toBe('connected')
    panel.end()
    pass(1000)
    expect([connection.state, gateway.open.length]).toEqual(['idle', 0])
    expect(vi.getTimerCount(), 'no timer is left').toBe(0)
  })

  test('1,000 holders in turn: one socket, then none', () => {
    for (let n = 0; n < 1000; n++) {
      const panel = hold(PANEL)
      pass(20)
      panel.end()
      pass(20)
    }
    expect(gateway.sockets.length).toBe(1)
    pass(1000)
    expect(gateway.open.length).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('subscribing opens no second socket, and events of a closed socket are ignored', () => {
    hold(PANEL)
    pass(500)
    hold({ symbols: ['SOL/USDT'] })
    pass(500)
    expect(gateway.sockets.length).toBe(1)
    const [old] = gateway.sockets
    connection.disconnect()
    connection.connect()
    pass(500)
    old!.onclose?.({ code: 1006 })
    old!.onmessage?.({ data: '{"type":"error","message":"from the old socket"}' })
    pass(10_000)
    expect(gateway.open.length).toBe(1)
    expect(gateway.sockets.length).toBe(2)
    expect([connection.state, connection.error]).toEqual(['connected', null])
    expect([...gateway.socket.symbols]).toEqual(['BTC/USDT', 'ETH/USDT', 'SOL/USDT'])
  })

  test('after a loss everything is requested again, with its options', () => {
    hold({ ...PANEL, intervalMs: 100, opportunities: true })
    pass(500)
    hold({ symbols: ['SOL/USDT'] })
    pass(500)
    gateway.heard = []
    gateway.socket.drop(1006)
    pass(2)
    expect(connection.state).toBe('waiting')
    pass(1000)
    expect(gateway.heard).toEqual([
      {
        action: 'subscribe',
        symbols: ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'],
        exchanges: ['binance', 'okx'],
        intervalMs: 100,
        opportunities: true,
      },
    ])
  })

  test('disconnect() stays disconnected for new holders, until connect()', () => {
    hold(PANEL)
    pass(500)
    connection.disconnect()
    hold({ symbols: ['SOL/USDT'] })
    pass(60_000)
    expect([connection.state, gateway.open.length]).toEqual(['idle', 0])
    connection.connect()
    pass(500)
    expect([...gateway.socket.symbols]).toEqual(['BTC/USDT', 'ETH/USDT', 'SOL/USDT'])
  })

  test('disconnect() cancels a scheduled attempt', () => {
    hold(PANEL)
    pass(500)
    gateway.socket.drop(1006)
    pass(10)
    connection.disconnect()
    pass(60_000)
    expect(gateway.sockets.length).toBe(1)
  })

  test('it never gives up by default, and the first attempts come within three seconds', () => {
    hold(PANEL)
    pass(500)
    gateway.mood = 'refusing'
    gateway.socket.drop(1006)
    pass(3000)
    expect(gateway.sockets.length).toBeGreaterThanOrEqual(4)
    pass(600_000)
    expect(gateway.sockets.length, 'ten minutes later').toBeGreaterThan(50)
    gateway.mood = 'accepting'
    pass(10_000)
    expect([connection.state, connection.attempts, connection.error]).toEqual(['connected', 0, null])
  })

  test('maxReconnectAttempts and reconnectInterval are honoured if set', () => {
    gateway.mood = 'refusing'
    hold({ ...PANEL, maxReconnectAttempts: 5, reconnectInterval: 1000 })
    pass(20_000)
    expect([gateway.sockets.length, connection.state]).toEqual([6, 'failed'])
    gateway.mood = 'accepting'
    pass(60_000)
    expect(connection.state).toBe('failed')
    connection.connect()
    pass(100)
    expect(connection.state).toBe('connected')
  })

  test('a new holder after it gave up starts a new attempt', () => {
    gateway.mood = 'refusing'
    hold({ ...PANEL, maxReconnectAttempts: 0 })
    pass(1000)
    expect(connection.state).toBe('failed')
    gateway.mood = 'accepting'
    hold({ symbols: ['SOL/USDT'] })
    pass(1000)
    expect([...gateway.socket.symbols]).toEqual(['BTC/USDT', 'ETH/USDT', 'SOL/USDT'])
  })

  test('an opening that times out and an invalid address are tried again', () => {
    gateway.mood = 'mute'
    hold(PANEL)
    pass(12_000)
    expect(gateway.sockets.length).toBe(2)
    expect(gateway.sockets[0]!.wasClosed).toBe(true)
    const wrong = new Connection('nonsense', {
      WebSocket: class {
        constructor() {
          throw new SyntaxError('wrong address')
        }
      } as never,
    })
    wrong.hold(PANEL)
    expect([wrong.state, wrong.error]).toEqual(['waiting', 'wrong address'])
    wrong.disconnect()
  })

  test('a silent gateway is sent a request, and dropped if it does not answer', () => {
    hold(PANEL)
    pass(1900)
    gateway.heard = []
    pass(200)
    expect(gateway.heard, 'asked after two seconds of silence').toEqual([{ action: 'subscribe' }])
    pass(60_000)
    expect([gateway.sockets.length, connection.state], 'it answered').toEqual([1, 'connected'])
    gateway.answers = false
    pass(20_000)
    expect(gateway.sockets[0]!.wasClosed).toBe(true)
    expect(gateway.sockets.length).toBeGreaterThan(1)
  })

  test('a frozen gateway is silent five seconds later and connected with its next message; changes are requested then', () => {
    hold(PANEL)
    pass(50)
    gateway.answers = false
    gateway.price('BTC/USDT', 'okx', 1, 2)
    pass(4900)
    expect(connection.state).toBe('connected')
    pass(200)
    expect([connection.state, connection.error]).toEqual(['silent', 'The gateway does not answer'])
    gateway.heard = []
    hold({ symbols: ['SOL/USDT'] })
    pass(5000)
    expect(gateway.heard).toEqual([])
    gateway.price('BTC/USDT', 'okx', 1, 2)
    expect([connection.state, connection.error, connection.attempts]).toEqual(['connected', null, 0])
    pass(500)
    expect(gateway.heard).toMatchObject([{ action: 'subscribe', symbols: ['SOL/USDT'] }])
    expect(gateway.sockets.length).toBe(1)
  })

  test('no request is sent while prices arrive', () => {
    hold(PANEL)
    pass(50)
    gateway.heard = []
    for (let n = 0; n < 100; n++) {
      gateway.price('BTC/USDT', 'okx', 1, 2)
      pass(500)
    }
    expect(gateway.heard).toEqual([])
  })
})

describe('delays between attempts', () => {
  test('they grow from 250 ms to the longest, with jitter', () => {
    const waits = (random: number) => Array.from({ length: 9 }, (_, attempt) => backoff(attempt, 1006, random))
    expect(waits(1)).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000])
    expect(waits(0)).toEqual(waits(1).map((wait) => wait / 2))
    expect(backoff(2000, 1006, 1)).toBe(10_000)
  })

  test('1001: the gateway stops, and clients reconnect at random within three seconds', () => {
    expect([0, 0.5, 1].map((random) => backoff(0, 1001, random))).toEqual([0, 1500, 3000])
    expect(backoff(1, 1001, 1)).toBe(500)
  })

  test('1013: a client that was too slow waits longer', () => {
    expect(backoff(0, 1013, 0)).toBe(1000)
    expect(backoff(9, 1013, 1)).toBe(10_000)
  })

  test('an error of this client is not repeated soon', () => {
    for (const code of [1002, 1007, 1008, 1009]) expect(backoff(0, code, 0)).toBe(5000)
  })

  test('the delay depends on the close code', () => {
    hold(PANEL)
    pass(500)
    gateway.socket.drop(1008)
    pass(7000)
    expect(gateway.sockets.length).toBe(1)
    pass(1000)
    expect(gateway.sockets.length).toBe(2)
  })
})

describe('messages', () => {
  test('typed events; an error of a listener affects neither others nor the connection', () => {
    const prices: number[] = []
    const off = connection.on('price', ({ bid }) => prices.push(bid))
    connection.on('price', () => {
      throw new Error('mine')
    })
    connection.on('price', ({ ask }) => prices.push(ask))
    hold(PANEL)
    pass(50)
    gateway.price('BTC/USDT', 'okx', 1, 2)
    expect(() => pass(50)).toThrow('mine')
    off()
    gateway.price('BTC/USDT', 'okx', 3, 4)
    expect(prices).toEqual([1, 2, 4])
    expect(() => pass(50)).toThrow('mine')
    expect(connection.state).toBe('connected')
  })

  test('frames that are not messages are reported as unread and change nothing', () => {
    const unread: unknown[] = []
    const read: unknown[] = []
    connection.on('unread', (data) => unread.push(data))
    connection.on('price', (message) => read.push(message))
    hold(PANEL)
    pass(50)
    const frames = [
      '',
      'nonsense',
      'null',
      '[]',
      '"price"',
      '7',
      '{"type":"__proto__"}',
      '{"type":"constructor"}',
      '{"type":["price"]}',
      '{"type":"later","x":1}',
      '{"type":"price","symbol":"BTC/USDT","exchange":"okx","bid":null,"ask":2,"timestamp":1}',
      '{"type":"price","symbol":"BTC/USDT","exchange":"okx","bid":0,"ask":2,"timestamp":1}',
      '{"type":"price","symbol":"BTC/USDT","exchange":"okx","bid":"1","ask":2,"timestamp":1}',
      '{"type":"price","symbol":"BTC/USDT","exchange":"okx","bid":1e999,"ask":2,"timestamp":1}',
      '{"type":"price","symbol":{},"exchange":"okx","bid":1,"ask":2,"timestamp":1}',
      '{"type":"price","symbol":"BTC/USDT","bid":1,"ask":2,"timestamp":1}',
    ]
    frames.forEach((frame) => gateway.say(frame))
    gateway.socket.say(new ArrayBuffer(8))
    expect(unread.length).toBe(frames.length + 1)
    expect(read).toEqual([])
    expect(connection.state).toBe('connected')
  })

  test('unknown members are dropped, and none reaches a prototype', () => {
    const read: object[] = []
    connection.on('price', (message) => read.push(message))
    hold(PANEL)
    pass(50)
    gateway.say(
      '{"type":"price","symbol":"BTC/USDT","exchange":"okx","bid":1,"ask":2,"timestamp":1,"later":true,"__proto__":{"polluted":1}}',
    )
    expect(Object.keys(read[0]!)).toEqual(['type', 'symbol', 'exchange', 'bid', 'ask', 'timestamp'])
    expect('polluted' in read[0]!).toBe(false)
  })

  test('an error of the gateway is retained as plain text', () => {
    hold(PANEL)
    pass(50)
    const hostile = '<img src=x onerror=alert(1)>\u0000\u202e"\u2028'
    gateway.say(JSON.stringify({ type: 'error', message: hostile }))
    expect(connection.error).toBe(hostile)
  })
})

describe('addresses', () => {
  test.each([
    ['wss://host/ws/prices', 'wss://host/ws/prices', 'https://host/api/x'],
    ['ws://host:3000/ws/prices', 'ws://host:3000/ws/prices', 'http://host:3000/api/x'],
    ['https://host', 'wss://host/ws/prices', 'https://host/api/x'],
    ['http://host:3000/', 'ws://host:3000/ws/prices', 'http://host:3000/api/x'],
    ['https://host/spreadwire/', 'wss://host/spreadwire/ws/prices', 'https://host/spreadwire/api/x'],
    ['https://host/ws/prices?token=a', 'wss://host/ws/prices?token=a', 'https://host/api/x?token=a'],
  ])('%s', (url, socket, page) => {
    expect([socketUrl(url), pageUrl('/api/x', url)]).toEqual([socket, page])
  })

  test('without a URL: the origin of the page; without a page: none', () => {
    expect(socketUrl()).toBeUndefined()
    vi.stubGlobal('location', { href: 'https://desk.example/panel/deep?x=1' })
    expect([socketUrl(), pageUrl('/api/x')]).toEqual(['wss://desk.example/ws/prices', 'https://desk.example/api/x'])
    expect(socketUrl('/gateway')).toBe('wss://desk.example/gateway/ws/prices')
    setGateway('/below/a/path/')
    expect([socketUrl(), pageUrl('/api/x')]).toEqual([
      'wss://desk.example/below/a/path/ws/prices',
      'https://desk.example/below/a/path/api/x',
    ])
    setGateway('/')
    vi.unstubAllGlobals()
  })
})
