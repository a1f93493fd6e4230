// Shared by the tests: the real binary as a child process, a venue that sends what a test wants, and clients that record all
// messages. Everything listens on loopback, on free ports.
//
// No test depends on the speed of the machine. A test waits for a condition. To show that a message is not sent, it waits for a
// message that the gateway sends later on the same connection, such as the reply to a request (`soFar`).

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket, WebSocketServer } from 'ws'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const BINARY = path.resolve(ROOT, process.env.SPREADWIRE_BIN ?? 'target/debug/spreadwire')
/** Milliseconds after which a test gives up. No test relies on the value. */
export const PATIENCE = 300_000

/** When the tests started, and the greatest difference between two readings of the wall clock, in milliseconds. */
const STARTED = Date.now()
const SKEW = 1000

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Calls `action` every `ms` milliseconds, until the returned function is called or the tests end. */
export function every(ms, action) {
  const timer = setInterval(action, ms)
  const stop = () => clearInterval(timer)
  leftovers.add(stop)
  return stop
}

/** Waits until `probe` returns a true value, and returns it. */
export async function until(what, probe, patience = PATIENCE) {
  const end = Date.now() + patience
  for (;;) {
    const found = await probe()
    if (found) return found
    if (Date.now() > end) throw new Error(`waited too long for ${what}`)
    await sleep(20)
  }
}

/** Closes what a failed test leaves open, which would keep the process alive. */
export const leftovers = new Set()
after(() => leftovers.forEach((close) => close()))
process.on('exit', () => leftovers.forEach((close) => close()))

// The binary.

/** Longest waits of the gateway for a client: a test may be slow between connecting and sending, or in reading. */
const PATIENT = { SPREADWIRE_GATEWAY_HEADER_WAIT_MS: '60000', SPREADWIRE_GATEWAY_WRITE_STALL_MS: '600000' }

/** A running spreadwire process. `address` is where it listens, as printed. */
export class Server {
  static async start(args, pattern = /http:\/\/(127\.0\.0\.1:\d+)\//) {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run cargo build, or set SPREADWIRE_BIN`)
    const server = new Server()
    server.stdout = ''
    server.stderr = ''
    server.child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...PATIENT, ...process.env } })
    server.exited = once(server.child, 'exit').then(([code]) => code)
    server.child.stdout.on('data', (bytes) => (server.stdout += bytes))
    server.child.stderr.on('data', (bytes) => (server.stderr += bytes))
    const kill = () => server.child.kill('SIGKILL')
    leftovers.add(kill)
    server.exited.then(() => leftovers.delete(kill))
    let gone = false
    server.exited.then(() => (gone = true))
    const found = await until('the address of the process', () => pattern.exec(server.stdout) ?? gone)
    if (found === true) throw new Error(`spreadwire ${args.join(' ')} ended: ${server.stderr}`)
    server.address = found[1]
    return server
  }

  /** Stops the process and returns its exit code. */
  async stop(signal = 'SIGTERM') {
    this.child.kill(signal)
    const code = await this.exited
    if (this.folder) rmSync(this.folder, { recursive: true, force: true })
    return code
  }

  get(target, options) {
    return get(this.address, target, options)
  }

  /** Sends `body` as JSON. */
  async post(target, body, headers) {
    return fetch(`http://${this.address}${target}`, { method: 'POST', headers, body: JSON.stringify(body) })
  }

  async json(target) {
    const reply = await this.get(target)
    return { ...reply, value: JSON.parse(reply.body) }
  }

  /** Opens a WebSocket client. */
  client(target = '/ws/prices', ...rest) {
    return Client.open(`ws://${this.address}${target}`, ...rest)
  }

  stream(query) {
    return Stream.open(this.address, `/api/market-data/stream?${query}`)
  }
}

/** Runs `serve` with this configuration. */
export async function serve(toml, { port = 0 } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'spreadwire-clients-'))
  const file = path.join(folder, 'spreadwire.toml')
  const listen = `listen = "127.0.0.1:${port}"`
  const text = toml.includes('[gateway]') ? toml.replace('[gateway]', `[gateway]\n${listen}`) : `${toml}\n[gateway]\n${listen}\n`
  writeFileSync(file, text)
  const server = await Server.start(['serve', '--config', file])
  server.folder = folder
  return server
}

/** Settings that disable all limits of age and silence, unless a test sets them. */
const UNHURRIED = {
  quotes: { stale_after_ms: 600_000 },
  detector: { leg_age_max_ms: 600_000, leg_skew_max_ms: 600_000 },
  feed: { silence_max_ms: 600_000, pair_silence_ms: 0 },
}

/** Adds the settings of `UNHURRIED` that `toml` does not contain. */
function unhurried(toml) {
  let text = toml
  for (const [section, settings] of Object.entries(UNHURRIED)) {
    const lines = Object.entries(settings).flatMap(([key, value]) => (text.includes(`${key} =`) ? [] : [`${key} = ${value}\n`]))
    const head = `[${section}]\n`
    text = text.includes(head) ? text.replace(head, `${head}${lines.join('')}`) : `${text}\n${head}${lines.join('')}`
  }
  return text
}

/** Runs `serve` on venues of the test, and waits until it has subscribed to all of them. */
export async function serveOn(venues, instruments, more = '', options = {}) {
  const quoted = (names) => `[${names.map((name) => `"${name}"`).join(', ')}]`
  const own = venues.map((venue) => {
    const list = venue.instruments ? `\ninstruments = ${quoted(venue.instruments)}` : ''
    const fee = venue.fee === undefined ? '' : `\ntaker_fee_pct = ${venue.fee}`
    return `[venue.${venue.name}]\naddress = "${venue.address}"${list}${fee}\n`
  })
  const head = `venues = ${quoted(venues.map((venue) => venue.name))}\ninstruments = ${quoted(instruments)}\n`
  venues.forEach((venue) => (venue.subscribed = false))
  const server = await serve(`${head}${unhurried(`${more}\n`)}\n${own.join('')}`, options)
  await until('the subscriptions to all venues', () => venues.every((venue) => venue.subscribed))
  return server
}

// Venues.

let sequence = 1000

/** The frames of each venue, with the fields in the order of its documentation. */
const FRAMES = {
  binance: {
    native: (symbol) => symbol.replace('/', ''),
    acknowledge: (request) => [{ result: null, id: request.id }],
    quote: (native, { bid, bidSize, ask, askSize }) =>
      `{"u":${++sequence},"s":"${native}","b":"${bid}","B":"${bidSize}","a":"${ask}","A":"${askSize}"}`,
    day: (native, { bid, ask, bidSize, askSize }, d) =>
      JSON.stringify({
        e: '24hrTicker', E: d.time, s: native, p: d.change, P: d.changePercent, w: d.last, x: d.last, c: d.last, Q: '1',
        b: bid, B: bidSize, a: ask, A: askSize, o: d.last, h: d.high, l: d.low, v: '1', q: d.volume,
        O: 0, C: d.time, F: 0, L: 1, n: 2,
      }),
  },
  okx: {
    native: (symbol) => symbol.replace('/', '-'),
    acknowledge: (request) =>
      (request.args ?? []).map((arg) => ({ id: request.id, event: 'subscribe', arg, connId: 'a4d3ae55' })),
    quote: (native, { bid, bidSize, ask, askSize, time }) => {
      const side = (price, size) => (price === '' ? '[]' : `[["${price}","${size}","0","1"]]`)
      return `{"arg":{"channel":"bbo-tbt","instId":"${native}"},"data":[{"asks":${side(ask, askSize)},"bids":${side(bid, bidSize)},"ts":"${time}","seqId":${++sequence}}]}`
    },
    book: (native, bids, asks) => {
      const side = (levels) => levels.map(([price, size]) => [price, size, '0', '1'])
      return JSON.stringify({
        arg: { channel: 'books', instId: native }, action: 'snapshot',
        data: [{ asks: side(asks), bids: side(bids), ts: String(Date.now()), checksum: 0, seqId: ++sequence, prevSeqId: -1 }],
      })
    },
    skip: (native) =>
      JSON.stringify({
        arg: { channel: 'books', instId: native }, action: 'update',
        data: [{ asks: [], bids: [], ts: String(Date.now()), checksum: 0, seqId: (sequence += 9), prevSeqId: sequence - 1 }],
      }),
  },
  bybit: {
    native: (symbol) => symbol.replace('/', ''),
    acknowledge: (request) => [{ success: true, ret_msg: 'subscribe', conn_id: 'c', req_id: request.req_id, op: 'subscribe' }],
    quote: (native, { bid, bidSize, ask, askSize, time }) =>
      `{"topic":"orderbook.1.${native}","ts":${time},"type":"snapshot","data":{"s":"${native}","b":[["${bid}","${bidSize}"]],"a":[["${ask}","${askSize}"]],"u":${++sequence},"seq":${sequence}},"cts":${time}}`,
  },
  kraken: {
    native: (symbol) => symbol,
    acknowledge: (request) =>
      (request.params?.symbol ?? []).map((symbol) => ({
        method: 'subscribe', req_id: request.req_id, success: true,
        result: { channel: 'ticker', event_trigger: 'bbo', snapshot: true, symbol },
        time_in: '2026-08-12T19:29:00.962486Z', time_out: '2026-08-12T19:29:00.962534Z',
      })),
    quote: (native, { bid, bidSize, ask, askSize, time }) =>
      `{"channel":"ticker","type":"update","data":[{"symbol":"${native}","bid":${bid},"bid_qty":${bidSize},"ask":${ask},"ask_qty":${askSize},"last":${bid},"volume":1,"vwap":${bid},"low":${bid},"high":${ask},"change":0,"change_pct":0,"trades":1,"timestamp":"${new Date(Number(time)).toISOString()}"}]}`,
  },
}

/** An exchange that sends the quotes of a test. The package `ws` answers pings. */
export class Venue {
  static async open(name, { instruments, fee } = {}) {
    const venue = new Venue()
    Object.assign(venue, { name, instruments, fee, frames: FRAMES[name], sockets: new Set(), snapshots: new Map(), refusing: false })
    venue.subscribed = false
    venue.server = new WebSocketServer({
      host: '127.0.0.1', port: 0, path: `/${name}`,
      verifyClient: (_, accept) => (venue.refusing ? accept(false, 503) : accept(true)),
    })
    await once(venue.server, 'listening')
    leftovers.add(() => venue.close())
    venue.address = `ws://127.0.0.1:${venue.server.address().port}/${name}`
    venue.server.on('connection', (socket) => venue.#greet(socket))
    return venue
  }

  #greet(socket) {
    socket.on('error', () => {})
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('message', (bytes) => {
      const text = bytes.toString()
      if (text === 'ping') return socket.send('pong')
      const request = JSON.parse(text)
      if (request.op === 'ping' || request.method === 'ping') return
      this.frames.acknowledge(request).forEach((reply) => socket.send(JSON.stringify(reply)))
      if (!this.sockets.has(socket)) {
        this.sockets.add(socket)
        this.subscribed = true
        for (const [key, frame] of this.snapshots) {
          socket.send(frame())
          // As in `quote`: a further one.
          if (key.startsWith('quote ')) socket.send(frame())
        }
      }
    })
  }

  /**
   * Sends a top of book, now and on every later connection. An empty text is a missing side. Without `time`, the quote has no
   * stamp: a quote whose stamp is 250 ms old on arrival is late and makes no alert, and a slow machine delivers such quotes.
   */
  quote(symbol, bid, ask, { bidSize = '1.50', askSize = '2', time = 0 } = {}) {
    const level = { bid, ask, bidSize, askSize, time }
    const isFirst = this.last?.[symbol] === undefined
    this.last = { ...this.last, [symbol]: level }
    const frame = () => this.frames.quote(this.frames.native(symbol), level)
    this.#publish(`quote ${symbol}`, frame)
    // The first quote of a connection is not a leg of an alert before a further one has come.
    if (isFirst) this.#send(frame())
  }

  /** Sends a whole order book, levels as [price, size] texts, now and on every later connection that subscribes to books. */
  book(symbol, bids, asks) {
    this.#publish(`book ${symbol}`, () => this.frames.book(this.frames.native(symbol), bids, asks))
  }

  /** Sends a change of a book whose predecessor was never sent. */
  skip(symbol) {
    this.#send(this.frames.skip(this.frames.native(symbol)))
  }

  /** Sends statistics of the last day; the symbol must have a quote. */
  day(symbol, { last, high, low, change, changePercent, volume, time = 0 }) {
    const day = { last, high, low, change, changePercent, volume, time }
    this.#publish(`day ${symbol}`, () => this.frames.day(this.frames.native(symbol), this.last[symbol], day))
  }

  /** Sends all quotes, books and statistics again. */
  repeat() {
    for (const frame of this.snapshots.values()) this.#send(frame())
  }

  #publish(key, frame) {
    this.snapshots.set(key, frame)
    this.#send(frame())
  }

  #send(text) {
    this.sockets.forEach((socket) => socket.send(text))
  }

  /** Resets every connection and refuses new ones until `accept`. */
  lose() {
    this.refusing = true
    this.server.clients.forEach((socket) => socket.terminate())
  }

  accept() {
    this.refusing = false
  }

  close() {
    this.server.clients.forEach((socket) => socket.terminate())
    this.server.close()
  }
}

// Clients.

/** A WebSocket client (the package `ws`) that records all messages. */
export class Client {
  static async open(url, ...rest) {
    const client = new Client()
    client.heard = []
    client.read = 0
    client.socket = new WebSocket(url, ...rest)
    client.socket.on('message', (bytes, binary) => {
      const text = bytes.toString()
      client.heard.push({ text, binary, value: JSON.parse(text) })
    })
    client.pings = 0
    client.socket.on('ping', () => client.pings++)
    leftovers.add(() => client.socket.terminate())
    client.closed = new Promise((resolve) => client.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })))
    client.socket.on('upgrade', (response) => (client.response = response))
    await new Promise((resolve, reject) => {
      client.socket.on('open', resolve)
      client.socket.on('error', reject)
      client.socket.on('unexpected-response', (_, response) => {
        response.resume()
        reject(Object.assign(new Error(`status ${response.statusCode}`), { status: response.statusCode, headers: response.headers }))
      })
    })
    client.socket.on('error', () => {})
    return client
  }

  send(request) {
    this.socket.send(typeof request === 'string' ? request : JSON.stringify(request))
  }

  subscribe(symbols, exchanges, more = {}) {
    this.send({ action: 'subscribe', symbols, exchanges, ...more })
    return this.next('subscribed')
  }

  unsubscribe(symbols, exchanges) {
    this.send({ action: 'unsubscribe', symbols, exchanges })
    return this.next('unsubscribed')
  }

  /** The next message of this type, or that `what` accepts, or of any type; skips earlier messages. */
  async next(what) {
    await this.before(what)
    return this.heard[this.read - 1]
  }

  /** The messages before the next one of this type, or that `what` accepts. */
  async before(what) {
    const accepts = typeof what === 'function' ? what : (message) => !what || message.value.type === what
    const first = this.read
    let at = first
    await until(`a message ${what ?? ''}`, () => {
      while (at < this.heard.length && !accepts(this.heard[at])) at++
      return at < this.heard.length
    }).catch((error) => {
      throw new Error(`${error.message}; the last messages are ${JSON.stringify(this.heard.slice(-3).map((m) => m.text))}`)
    })
    this.read = at + 1
    return this.heard.slice(first, at)
  }

  /** The next `count` messages of this type (or any), in order. */
  async take(count, type) {
    const taken = []
    while (taken.length < count) taken.push(await this.next(type))
    return taken
  }

  /** The unread messages that the gateway has sent up to now: those before its reply to a request. */
  async soFar(type) {
    this.send({ action: 'subscribe' })
    const messages = await this.before('subscribed')
    return messages.filter((message) => !type || message.value.type === type)
  }

  /**
   * Waits until the gateway has pinged twice and sent no message in between. The pings measure the time of the gateway, so
   * `ping_ms` of at least two beats means that a beat passed without a price.
   */
  async silence() {
    let [messages, pings] = [this.heard.length, this.pings]
    await until('two pings without a message', () => {
      if (this.heard.length > messages) [messages, pings] = [this.heard.length, this.pings]
      return this.pings >= pings + 2
    })
    this.read = this.heard.length
  }

  close() {
    this.socket.close()
    return this.closed
  }
}

/** An SSE stream, read without a library. */
export class Stream {
  static async open(address, target, headers = {}) {
    const stream = new Stream()
    const [host, port] = address.split(':')
    stream.blocks = []
    stream.read = 0
    stream.request = http.get({ host, port, path: target, agent: false, headers: { accept: 'text/event-stream', ...headers } })
    leftovers.add(() => stream.close())
    const [response] = await once(stream.request, 'response')
    stream.response = response
    let rest = ''
    response.setEncoding('utf8')
    response.on('error', () => {})
    stream.request.on('error', () => {})
    stream.ended = new Promise((resolve) => response.on('close', resolve))
    response.on('data', (text) => {
      const parts = (rest + text).split('\n\n')
      rest = parts.pop()
      parts.forEach((block) => stream.blocks.push({ text: block, value: value(block) }))
    })
    return stream
  }

  /** The next event that `what` accepts; skips earlier events. */
  async next(what = (block) => block.value) {
    return until('an event', () => {
      while (this.read < this.blocks.length) {
        const block = this.blocks[this.read++]
        if (what(block)) return block
      }
      return false
    })
  }

  close() {
    this.request.destroy()
  }
}

const value = (block) => (block.startsWith('data: ') ? JSON.parse(block.slice(6)) : undefined)

/** Sends one HTTP request on a new connection. */
export async function get(address, target, { method = 'GET', headers = {} } = {}) {
  const [host, port] = address.split(':')
  const request = http.request({ host, port, path: target, method, agent: false, headers })
  request.end()
  const [response] = await once(request, 'response')
  response.setEncoding('utf8')
  let body = ''
  for await (const text of response) body += text
  return { status: response.statusCode, headers: response.headers, body }
}

/** Whether `timestamp` is a whole number of milliseconds since 1970, after the start of this process and not in the future. */
export const isNow = (timestamp) => Number.isInteger(timestamp) && timestamp >= STARTED && timestamp <= Date.now() + SKEW

/** Messages in groups of `size`: each burst contains every pair once. */
export function rounds(messages, size) {
  return Array.from({ length: Math.floor(messages.length / size) }, (_, at) => messages.slice(at * size, (at + 1) * size))
}
