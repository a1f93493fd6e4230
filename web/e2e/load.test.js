// 10,000 updates per second into a page with 200 visible pairs: draws of components, long tasks and memory. The gateway is a
// small one in the test, so that the page is measured and not the gateway.
//
// Updates are counted, not timed. SPREADWIRE_SOAK_MIN=5 measures memory over five minutes. SPREADWIRE_QUIET=1 means that the
// machine is idle: then rates and durations are asserted, too; otherwise they are only printed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'
import { PATIENCE, openPage, picture, sleep, until } from './rig.js'

const BUILT = fileURLToPath(new URL('../page/built/', import.meta.url))
const SYMBOLS = Array.from({ length: 25 }, (_, at) => `S${String(at).padStart(2, '0')}/USDT`)
const EXCHANGES = ['binance', 'coinbase', 'kraken', 'okx', 'bybit', 'kucoin', 'gate', 'bitget']
const PER_SECOND = 10_000
const TICK_MS = 10
const IS_QUIET = process.env.SPREADWIRE_QUIET === '1'
const SOAK_MIN = Number(process.env.SPREADWIRE_SOAK_MIN ?? 0)

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
const gateway = { sent: 0, clients: new Set() }

before(async () => {
  const server = http.createServer((request, response) => {
    const name = request.url === '/' ? '/index.html' : request.url
    const status = {
      timestamp: Date.now(),
      status: 'healthy',
      alerts: [],
      process: { version: '0', uptimeMs: 1, instance: 'i', hostname: 'h', source: 'simulated' },
      venues: [],
    }
    const answers = {
      '/api/instruments': { instruments: SYMBOLS.map((symbol) => ({ symbol, exchanges: EXCHANGES })) },
      '/api/opportunities': { open: [], closed: [] },
      '/api/status': status,
    }
    if (answers[name]) return response.setHeader('content-type', 'application/json').end(JSON.stringify(answers[name]))
    response.setHeader('content-type', TYPES[path.extname(name)] ?? 'text/plain').end(readFileSync(path.join(BUILT, name)))
  })
  const sockets = new WebSocketServer({ server, path: '/ws/prices' })
  sockets.on('connection', (socket) => {
    const names = { symbols: new Set(), exchanges: new Set() }
    socket.on('message', (text) => {
      const request = JSON.parse(text)
      for (const set of ['symbols', 'exchanges'])
        for (const name of request[set] ?? []) names[set][request.action === 'subscribe' ? 'add' : 'delete'](name)
      socket.send(
        JSON.stringify({ type: `${request.action}d`, symbols: [...names.symbols], exchanges: [...names.exchanges], message: 'ok' }),
      )
      if (names.symbols.size > 0) gateway.clients.add(socket)
    })
    socket.on('close', () => gateway.clients.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const begun = performance.now()
  let count = 0
  const timer = setInterval(() => {
    // By elapsed time, so that a late timer does not reduce the rate.
    const due = Math.min(((performance.now() - begun) / 1000) * PER_SECOND - count, PER_SECOND / 4)
    for (let at = 0; at < due; at += 1) {
      const pair = count++ % (SYMBOLS.length * EXCHANGES.length)
      const bid = 1000 + (count % 977) / 100
      const text = `{"type":"price","symbol":"${SYMBOLS[pair % SYMBOLS.length]}","exchange":"${EXCHANGES[Math.floor(pair / SYMBOLS.length)]}","bid":${bid},"ask":${bid + 0.5},"timestamp":${Date.now()},"bidSize":1,"askSize":2,"seq":${count},"source":"simulated","state":"fresh","ageMs":1,"receivedNs":1}`
      for (const client of gateway.clients) {
        if (client.bufferedAmount < 1 << 20) {
          client.send(text)
          gateway.sent += 1
        }
      }
    }
  }, TICK_MS)
  gateway.stop = () => {
    clearInterval(timer)
    gateway.clients.forEach((client) => client.terminate())
    sockets.close()
    server.close()
    server.closeAllConnections()
  }
  gateway.address = `127.0.0.1:${server.address().port}`
})

after(() => gateway.stop?.())

/**
 * Runs before the scripts of the page. Counts frames, long tasks, and the components that each commit of React draws, by the flag
 * of fibers that performed work, which React's developer tools use.
 */
function observe() {
  const seen = { frames: 0, commits: 0, drawn: 0, twice: [], long: [] }
  window.seen = seen
  let drawnNow = new Map()
  const frame = () => {
    seen.frames += 1
    for (const [fiber, times] of drawnNow) {
      if (times > 1) seen.twice.push(String(fiber.key ?? fiber.type?.name ?? fiber.tag))
    }
    drawnNow = new Map()
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
  new PerformanceObserver((list) =>
    list.getEntries().forEach((entry) => seen.long.push({ at: entry.startTime, ms: entry.duration })),
  ).observe({ entryTypes: ['longtask'] })
  const visit = (before, now) => {
    const isComponent = [0, 1, 11, 14, 15].includes(now.tag)
    if (isComponent && now.flags & 1) {
      seen.drawn += 1
      // A fiber and its alternate are the same component.
      const known = drawnNow.has(now) ? now : now.alternate && drawnNow.has(now.alternate) ? now.alternate : now
      drawnNow.set(known, (drawnNow.get(known) ?? 0) + 1)
    }
    if (before && before.child === now.child) return
    for (let child = now.child; child; child = child.sibling) visit(child.alternate, child)
  }
  window.__REACT_DEVTOOLS_GLOBAL_HOOK__ = {
    supportsFiber: true,
    inject: () => 1,
    onScheduleFiberRoot() {},
    onCommitFiberUnmount() {},
    onPostCommitFiberRoot() {},
    onCommitFiberRoot(_, root) {
      seen.commits += 1
      visit(root.current.alternate, root.current)
    },
  }
}

test('10,000 updates a second on 200 pairs: one draw per frame, no long task, constant memory', async () => {
  const page = await openPage(undefined, { viewport: { width: 1720, height: 1700 } })
  await page.addInitScript(observe)
  await page.addInitScript(() => localStorage.setItem('spreadwire', JSON.stringify({ intervalMs: 0 })))
  await page.goto(`http://${gateway.address}/`)
  await until('all pairs', async () => (await page.locator('.sw-cell .sw-bid').count()) === 200)
  const visible = await page.evaluate(
    () =>
      [...document.querySelectorAll('.sw-cell')].filter((cell) => {
        const box = cell.getBoundingClientRect()
        return box.bottom <= innerHeight && box.right <= innerWidth
      }).length,
  )
  assert.equal(visible, 200, 'pairs in sight')
  /** Waits until `count` more updates have been sent to the page. */
  const fed = (count) => {
    const end = gateway.sent + count
    return until(`${count} updates`, () => gateway.sent >= end, PATIENCE * 10)
  }
  await fed(PER_SECOND)
  const cdp = await page.context().newCDPSession(page)
  const heap = async () => {
    await cdp.send('HeapProfiler.collectGarbage')
    return (await cdp.send('Runtime.getHeapUsage')).usedSize / 1024 / 1024
  }
  const before = await heap()
  const read = () =>
    page.evaluate(() => ({ ...window.seen, long: window.seen.long.splice(0), twice: window.seen.twice.splice(0), now: performance.now() }))
  await cdp.send('Performance.enable')
  const busy = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]))
  const busyBefore = await busy()
  const start = await read()
  const sent = gateway.sent
  // A machine that is busy with other work takes minutes for the full count.
  await fed(IS_QUIET ? 5 * PER_SECOND : PER_SECOND)
  const end = await read()
  const busyAfter = await busy()
  const seconds = (end.now - start.now) / 1000
  const rate = (gateway.sent - sent) / seconds
  const long = end.long.filter(({ at }) => at > start.now)
  await picture(page, 'load')
  const heaps = []
  for (let minute = 0; minute < SOAK_MIN; minute += 1) {
    await sleep(60_000)
    heaps.push(Number((await heap()).toFixed(2)))
  }
  const grown = (await heap()) - before
  const longest = long.reduce((most, { ms }) => Math.max(most, ms), 0)
  const mainMs =
    ['Script', 'Layout', 'RecalcStyle'].reduce((sum, name) => sum + busyAfter[`${name}Duration`] - busyBefore[`${name}Duration`], 0) * 1000
  const frameMs = mainMs / (end.frames - start.frames)
  const report = {
    updatesPerSecond: Math.round(rate),
    framesPerSecond: Math.round((end.frames - start.frames) / seconds),
    commitsPerSecond: Math.round((end.commits - start.commits) / seconds),
    drawnPerSecond: Math.round((end.drawn - start.drawn) / seconds),
    drawnTwiceInAFrame: end.twice.length,
    longTasks: long.length,
    longestMs: Math.round(longest),
    frameMs: Number(frameMs.toFixed(1)),
    quiet: IS_QUIET,
    busyPercent: Object.fromEntries(
      ['Task', 'Script', 'Layout', 'RecalcStyle'].map((name) => [
        name.toLowerCase(),
        Math.round(((busyAfter[`${name}Duration`] - busyBefore[`${name}Duration`]) / seconds) * 100),
      ]),
    ),
    heapMiB: Number(before.toFixed(1)),
    grownMiB: Number(grown.toFixed(2)),
    heapEachMinuteMiB: heaps,
  }
  console.log(JSON.stringify(report))
  if (IS_QUIET) assert.ok(rate > PER_SECOND * 0.8, `the test fed only ${rate} updates a second`)
  assert.ok(end.drawn > start.drawn && end.frames > start.frames, 'something was counted')
  assert.deepEqual(end.twice, [], 'drawn twice within a frame')
  if (IS_QUIET) assert.deepEqual(long, [], 'long tasks')
  assert.ok(grown < 5, `${grown} MiB more than before`)
  assert.deepEqual(page.wrong, [])
  await page.context().close()
})
