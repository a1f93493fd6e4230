// How the gateway serves the page: types, caching, compression and policy. Hostile names are shown as text.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync, gunzipSync } from 'node:zlib'
import { Server, get, openPage, openView, picture, until } from './rig.js'

const BUILT = fileURLToPath(new URL('../page/built/', import.meta.url))
/** First load, gzipped, in bytes. */
const LIMIT = 150 * 1024

let server
before(async () => {
  server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
})
after(() => server.stop())

/** The files that the page loads. */
function files(html) {
  return [...html.matchAll(/(?:src|href)="\.(\/[^"]*)"/g)].map(([, path]) => path)
}

/** Sends a GET and reads the response slowly; returns head and body. */
async function rawGet(path, headers, { pauseMs = 0 } = {}) {
  const [host, port] = server.address.split(':')
  const socket = net.connect({ host, port: Number(port) })
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n`)
  const parts = []
  socket.on('data', (bytes) => {
    parts.push(bytes)
    if (pauseMs > 0) {
      socket.pause()
      setTimeout(() => socket.resume(), pauseMs)
    }
  })
  await once(socket, 'close')
  const all = Buffer.concat(parts)
  const end = all.indexOf('\r\n\r\n')
  return { head: all.subarray(0, end).toString(), body: all.subarray(end + 4) }
}

describe('the page as it is served', () => {
  test('it is embedded, and it loads files of the gateway only', async () => {
    assert.ok(existsSync(BUILT), 'run `npm --prefix web run build` and build the binary again')
    const page = await get(server.address, '/')
    assert.equal(page.status, 200)
    assert.equal(page.headers['content-type'], 'text/html; charset=utf-8')
    assert.equal(page.body, readFileSync(`${BUILT}index.html`, 'utf8'), 'the binary holds the newest page')
    assert.ok(files(page.body).length >= 3)
    assert.doesNotMatch(page.body, /https?:\/\//)
    assert.doesNotMatch(page.body, /(?:src|href)="\//, 'a page below a path finds its own')
  })

  test('the first load is below 150 KiB gzipped', async () => {
    const { body } = await get(server.address, '/')
    let bytes = gzipSync(body).length
    for (const path of files(body)) {
      const file = await rawGet(path, 'Accept-Encoding: gzip\r\n')
      assert.match(file.head, /^HTTP\/1.1 200/)
      bytes += file.body.length
    }
    console.log(`first load: ${bytes} bytes gzipped of ${LIMIT}`)
    assert.ok(bytes < LIMIT, `${bytes} bytes`)
  })

  test('hashed files are immutable, the page is revalidated, HEAD equals GET', async () => {
    const page = await get(server.address, '/')
    const script = files(page.body).find((path) => path.endsWith('.js'))
    assert.equal(page.headers['cache-control'], 'no-cache')
    const again = await get(server.address, '/', { headers: { 'if-none-match': page.headers.etag } })
    assert.deepEqual([again.status, again.body], [304, ''])
    const file = await get(server.address, script)
    assert.match(file.headers['cache-control'], /max-age=31536000, immutable/)
    assert.equal(file.headers['content-type'], 'text/javascript; charset=utf-8')
    const head = await get(server.address, script, { method: 'HEAD' })
    assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', file.headers['content-length']])
    const missing = await get(server.address, '/assets/nothing-00000000.js')
    assert.deepEqual([missing.status, missing.body], [404, '{"error":"Not found"}'])
  })

  test('a slow client receives the whole file, plain or compressed', async () => {
    const page = await get(server.address, '/')
    const script = files(page.body).find((path) => path.endsWith('.js'))
    const text = readFileSync(`${BUILT}${script.slice(1)}`)
    const plain = await rawGet(script, '', { pauseMs: 5 })
    assert.ok(plain.body.equals(text), `${plain.body.length} of ${text.length} bytes`)
    assert.match(plain.head, new RegExp(`Content-Length: ${text.length}\r?$`, 'm'))
    const packed = await rawGet(script, 'Accept-Encoding: gzip\r\n', { pauseMs: 5 })
    assert.match(packed.head, /Content-Encoding: gzip/)
    assert.ok(gunzipSync(packed.body).equals(text))
  })

  test('the content security policy blocks other scripts and other origins', async () => {
    const page = await openPage(server.address)
    await page.locator('.sw-grid').waitFor()
    await page.evaluate(async () => {
      const refused = []
      document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective))
      const script = document.createElement('script')
      script.textContent = 'window.owned = true'
      document.body.append(script)
      const style = document.createElement('style')
      style.textContent = 'body { display: none }'
      document.body.append(style)
      await fetch('http://127.0.0.1:9/').catch(() => {})
      const image = new Image()
      image.src = 'http://127.0.0.1:9/x.png'
      try {
        new WebSocket('ws://127.0.0.1:9/')
      } catch {
        // Some browsers throw.
      }
      window.refused = refused
    })
    const seen = () => page.evaluate(() => window.refused)
    for (const part of ['script-src-elem', 'style-src-elem', 'connect-src', 'img-src']) {
      await until(part, async () => (await seen()).includes(part))
    }
    await until('the foreign WebSocket too', async () => (await seen()).filter((part) => part === 'connect-src').length >= 2)
    assert.equal(await page.evaluate(() => window.owned), undefined)
    await page.context().close()
  })
})

/** The cluster in a status page. */
const clusterOf = (instance, leads, redis = 'connected') => ({
  instance,
  redis,
  redisSinceMs: 5000,
  roundTripMs: 0.4,
  lastError: null,
  members: ['gateway-1', instance],
  leads,
  circuitBreaker: { state: 'closed', failureCount: 0, successCount: 0, timeSinceLastFailure: 0, reason: null, retryInMs: null },
})

/** Opens a page with a fake gateway: `answers` for its pages, `speak` for its WebSocket. */
async function pageOf(answers, speak) {
  const page = await openPage()
  for (const [path, value] of Object.entries(answers)) {
    await page.route(`**${path}`, (route) => route.fulfill({ json: value }))
  }
  await page.routeWebSocket(/\/ws\/prices/, (socket) => {
    socket.onMessage((text) => {
      const { action, symbols = [], exchanges = [] } = JSON.parse(text)
      if (action !== 'subscribe' || symbols.length === 0) return
      socket.send(JSON.stringify({ type: 'subscribed', symbols, exchanges, message: 'ok' }))
      speak((message) => socket.send(JSON.stringify(message)))
    })
  })
  return page
}

test('the banner distinguishes live, replayed, shared and last known prices', async () => {
  const real = (await server.json('/api/status')).value
  const status = { ...real, cluster: clusterOf('gateway-2', []), process: { ...real.process, source: 'live' } }
  const instruments = [{ symbol: 'BTC/USDT', exchanges: ['okx', 'kraken', 'binance'] }]
  const price = (exchange, more) => ({
    type: 'price',
    symbol: 'BTC/USDT',
    exchange,
    bid: 1,
    ask: 2,
    timestamp: Date.now(),
    source: 'live',
    ...more,
  })
  const page = await pageOf({ '/api/instruments': { instruments }, '/api/status': status }, (say) => {
    say(price('okx', { state: 'fresh', level: 'websocket' }))
    say(price('kraken', { state: 'fresh', level: 'shared' }))
    say(price('binance', { state: 'cached', level: 'redis_cache' }))
  })
  await page.goto(`http://${server.address}/`)
  const header = page.locator('header')
  const parts = ['Live exchange prices', '1 shared by the leader', '1 last known, not current', 'follower']
  await until('all labels', async () => {
    const text = await header.innerText()
    return parts.every((part) => text.includes(part))
  })
  assert.equal(await page.locator('.unreal').count(), 0)
  await picture(page, 'cluster')
  status.process.source = 'replay'
  await until('the replay', async () => (await header.innerText()).includes('Replay of recorded prices'))
  assert.equal(await page.locator('.unreal').count(), 1)
  await page.context().close()
})

const MARKUP = '<img src=x onerror=owned=1><script>owned=1</script>'
const TURNED = 'BTC\u202eTDSU/\u2066A\u0007\u200b'

test('hostile names and errors are shown as text in every view', async () => {
  const venue = (exchange, lastError) => ({
    exchange,
    state: MARKUP,
    data: MARKUP,
    freshPairs: 1,
    quotedPairs: 1,
    subscribedPairs: 1,
    source: MARKUP,
    connectedMs: 1,
    lastBytesMs: 1,
    reconnects: 0,
    disconnects: 0,
    connectionAttempts: 1,
    consecutiveErrors: 0,
    lastError,
    frames: 1,
    quotes: 1,
    bytes: 1,
    decodeErrors: {},
    dropped: { [MARKUP]: 1 },
    ringConflated: 0,
    silences: 0,
    clockOffsetMs: null,
    takerFeePct: 0.1,
  })
  const real = (await server.json('/api/status')).value
  const status = {
    ...real,
    alerts: [MARKUP, TURNED],
    venues: [venue(MARKUP, MARKUP), venue(TURNED, TURNED)],
    cluster: { ...clusterOf(MARKUP, [TURNED], TURNED), lastError: MARKUP },
    process: { ...real.process, source: MARKUP, instance: MARKUP, hostname: TURNED },
  }
  const symbols = [MARKUP, TURNED]
  const latency = {
    unit: 'ns',
    hops: [{ hop: MARKUP, from: MARKUP, to: TURNED, all: { count: 1, p50: 1, p90: 1, p99: 1, p999: 1, max: 1 }, exchanges: {} }],
  }
  const opportunity = (id, change) => ({
    type: 'opportunity',
    change,
    id,
    symbol: symbols[0],
    buyExchange: MARKUP,
    sellExchange: TURNED,
    buyPrice: 1,
    sellPrice: 2,
    spreadPct: 100,
    netSpreadPct: 99,
    executableSize: 1,
    buyAgeMs: 1,
    sellAgeMs: 1,
    openedAt: Date.now(),
    livedMs: 1,
    peakSpreadPct: 100,
    proof: MARKUP,
    source: MARKUP,
    timestamp: Date.now(),
  })
  const answers = {
    '/api/instruments': { instruments: symbols.map((symbol) => ({ symbol, exchanges: symbols })) },
    '/api/status': status,
    '/api/latency': latency,
    '/api/opportunities': { open: [], closed: [opportunity('2', 'closed')] },
  }
  const page = await pageOf(answers, (say) => {
    say({ type: 'error', message: MARKUP })
    say(opportunity('1', 'opened'))
    for (const symbol of symbols) {
      for (const exchange of symbols) {
        say({ type: 'price', symbol, exchange, bid: 1, ask: 2, timestamp: Date.now(), state: MARKUP, source: MARKUP, level: MARKUP })
      }
    }
  })
  await page.goto(`http://${server.address}/`)
  for (const view of ['prices', 'opportunities', 'instrument', 'latency', 'venues', 'settings']) {
    await openView(page, view)
    const text = () => page.locator('body').innerText()
    await until(`the name in ${view}`, async () => (await text()).includes('<img src=x'))
    const found = await page.evaluate(() => ({
      images: document.images.length,
      scripts: document.querySelectorAll('body script').length,
      owned: window.owned,
    }))
    assert.deepEqual(found, { images: 0, scripts: 0, owned: undefined }, view)
    const shown = await page.evaluate(() =>
      [...document.querySelectorAll('body, body *')]
        .flatMap((one) => [...one.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data))
        .join(' '),
    )
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(shown, /[\u0007\u200b\u202a-\u202e\u2066-\u2069]/, view)
    await picture(page, `hostile-${view}`)
  }
  assert.ok(!page.wrong.some((text) => /Content Security Policy/.test(text)), String(page.wrong))
  await page.context().close()
})
