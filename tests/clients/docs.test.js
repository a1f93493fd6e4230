// The documents for front ends and operators against the program: examples, paths, metrics, exit codes.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { BINARY, PATIENCE, ROOT, Venue, serveOn, until } from './rig.js'

const read = (name) => readFileSync(path.join(ROOT, name), 'utf8')

/** The JSON lines in the examples of a document. */
function examples(text) {
  const blocks = [...text.matchAll(/```(?:json|text)\n([\s\S]*?)```/g)].flatMap(([, block]) => block.split('\n'))
  return blocks.map((line) => line.replace(/^data: /, '')).filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
}

/** Whether two messages have the same members in the same order. Null is of any type: what is not known in one may be in the other. */
const isAlike = (one, other) =>
  Object.keys(one).join() === Object.keys(other).join() &&
  Object.entries(one).every(([key, inner]) => inner === null || other[key] === null || typeof inner === typeof other[key])

/** Token of admin calls. */
const TOKEN = 'a-token-of-this-test-only'

describe('documents', { concurrency: true }, () => {
  let binance, okx, server

  before(async () => {
    binance = await Venue.open('binance')
    okx = await Venue.open('okx')
    server = await serveOn([binance, okx], ['BTC/USDT', 'ETH/USDT', 'SOL/USDT'], `[admin]\ntoken = "${TOKEN}"\n`)
    binance.quote('BTC/USDT', '99', '100')
    binance.day('BTC/USDT', { last: '1', high: '2', low: '1', change: '1', changePercent: '1', volume: '1' })
    okx.quote('BTC/USDT', '102', '103')
    await until('prices', async () => (await server.get('/api/market-data/prices?pairs=BTC/USDT')).status === 200)
  })
  after(async () => {
    await server.stop()
    ;[binance, okx].forEach((venue) => venue.close())
  })

  test('every example of the protocol has the members of a real message', async () => {
    const [plain, extended, follower, stream] = [await server.client(), await server.client(), await server.client(), await server.stream('pairs=BTC/USD,BTC/USDT')]
    await plain.subscribe(['BTC/USDT'], ['okx'])
    await extended.subscribe(['BTC/USDT'], ['okx'], { intervalMs: 0, extended: true })
    await follower.subscribe(['BTC/USDT'], [], { opportunities: true })
    await until('an opportunity', () => follower.heard.some((m) => m.value.type === 'opportunity'))
    for (const client of [plain, extended]) {
      okx.quote('BTC/USDT', '102', '103')
      await until('a price and an alert', () => ['price', 'arbitrage'].every((type) => client.heard.some((m) => m.value.type === type)))
    }
    okx.quote('BTC/USDT', '100', '103')
    const closed = () => follower.heard.filter((m) => m.value.change === 'closed')
    await until('its end', () => closed().length === 1)
    await until('an outcome', async () => (await server.json('/api/precision')).value.pairs.length > 0)
    await until('a lifetime', async () => (await server.json('/api/survival')).value.pairs.length > 0)
    // The next one has a survival.
    okx.quote('BTC/USDT', '102', '103')
    await until('another', () => follower.heard.filter((m) => m.value.change === 'opened').length > 1)
    okx.quote('BTC/USDT', '100', '103')
    await until('the end of another', () => closed().length === 2)
    await plain.unsubscribe(['BTC/USDT'], [])
    plain.send('{')
    plain.send({ action: 'ping' })
    plain.send({ action: 'subscribe', minProof: 'certain' })
    await until('three errors', () => plain.heard.filter(({ value }) => value.type === 'error').length === 3)
    await stream.next(({ value }) => value?.pair === 'BTC/USDT')
    const watcher = await server.client()
    await watcher.subscribe(['BTC/USDT'], ['okx'], { books: [{ symbol: 'BTC/USDT', exchange: 'okx' }], levels: 2 })
    okx.book('BTC/USDT', [['102', '1'], ['101', '2']], [['103', '1'], ['104', '2']])
    await watcher.next(({ value }) => value.state === 'live')
    const livePages = [(await server.json('/api/book?symbol=BTC/USDT&exchange=okx')).value, (await server.json('/api/book?symbol=BTC/USDT')).value]
    okx.skip('BTC/USDT')
    await watcher.next(({ value }) => value.state === 'void')
    const admin = (target, body, token) => server.post(target, body, { authorization: `Bearer ${token}` })
    const calls = await Promise.all(
      [[{ remove: ['SOL/USDT'] }, TOKEN], [{ remove: ['NONE/USDT'] }, TOKEN], [{}, 'wrong']].map((call) => admin('/api/admin/set', ...call)),
    )
    assert.deepEqual(calls.map(({ status }) => status), [200, 400, 401])
    calls.push(await admin('/api/admin/retry', { exchange: 'okx' }, TOKEN))
    assert.equal(calls.at(-1).status, 200)
    const replies = await Promise.all(calls.map((call) => call.json()))
    await until('the news', () => extended.heard.some((m) => m.value.type === 'instruments'))
    const pages = ['/api/market-data/prices?pairs=BTC/USDT', '/api/exchanges/prices?symbol=BTC/USDT', '/api/websocket/stats', '/api/opportunities', '/api/precision', '/api/survival', '/api/refusals?symbol=BTC/USDT', '/api/instruments']
    const bodies = await Promise.all(pages.map(async (page) => (await server.json(page)).value))
    const said = [...plain.heard, ...extended.heard, ...follower.heard, ...watcher.heard, ...stream.blocks].flatMap(({ value }) => value ?? []).concat(bodies, livePages, replies)
    const answers = examples(read('docs/protocol.md')).filter((example) => !example.action)
    assert.ok(answers.length >= 14, `${answers.length} examples`)
    for (const answer of answers) assert.ok(said.some((one) => isAlike(one, answer)), `never sent: ${JSON.stringify(answer)}`)
    const messages = new Set(said.map(({ type, message }) => `${type} ${message}`))
    for (const { type, message } of answers.filter(({ message }) => message)) assert.ok(messages.has(`${type} ${message}`), message)
    await Promise.all([plain.close(), extended.close(), follower.close(), watcher.close()])
    stream.close()
  })

  test('every request of the protocol is accepted', async () => {
    const client = await server.client()
    for (const request of examples(read('docs/protocol.md')).filter((example) => example.action)) {
      client.send(request)
      assert.match((await client.next((m) => !['price', 'arbitrage', 'opportunity', 'book', 'instruments'].includes(m.value.type))).value.type, /subscribed$/)
    }
    await client.close()
  })

  test('every path in the documents is served, and every path of the index is documented', async () => {
    const text = read('docs/protocol.md') + read('docs/operating.md') + read('README.md')
    const paths = new Set([...text.matchAll(/(?<=[`\d])\/(?:api\b|ws\/prices|metrics|livez|readyz)[\w/-]*/g)].map(([found]) => found.replace(/\/$/, '')))
    assert.ok(paths.size >= 8, [...paths].join(' '))
    for (const found of paths) {
      const { status } = found.startsWith('/api/admin') ? await server.post(found, {}, {}) : await server.get(found)
      assert.notEqual(status, 404, found)
    }
    const index = (await server.get('/api')).body
    for (const [, found] of index.matchAll(/href="(\/[^"]+)"/g)) assert.ok(paths.has(found), `${found} is not documented`)
  })

  test('every metric is documented with its labels, and the reverse', async () => {
    const { body } = await server.get('/metrics')
    const metrics = new Map()
    for (const line of body.split('\n')) {
      const [, head] = /^# TYPE spreadwire_(\S+) /.exec(line) ?? []
      if (head) metrics.set(head, new Set())
      const [, name, labels] = /^spreadwire_(\w+?)(?:\{(.*)\})? \S+$/.exec(line) ?? []
      if (!name) continue
      const family = metrics.get(name) ?? metrics.get(name.replace(/_(sum|count)$/, ''))
      assert.ok(family, `${name} has no TYPE`)
      for (const [, label] of (labels ?? '').matchAll(/(\w+)="/g)) family.add(label)
    }
    const rows = [...read('docs/operating.md').matchAll(/^\| `(\w+)` \| (.*?) \| .* \|$/gm)]
    const documented = new Map(rows.map(([, name, labels]) => [name, labels.trim()]))
    // A metric without a measurement has no sample and no labels.
    const labels = new Map([
      ...['venue_clock_offset_seconds', 'venue_one_way_seconds'].map((name) => [name, ['venue']]),
      ...['precision_closed', 'precision_ratio', 'survival_episodes'].map((name) => [name, ['buy', 'sell']]),
      ['survival_ratio', ['buy', 'sell', 'after_ms']],
    ])
    const unmeasured = [...labels].filter(([name]) => metrics.get(name)?.size === 0)
    unmeasured.forEach(([name, of]) => of.forEach((label) => metrics.get(name).add(label)))
    const real = new Map([...metrics].map(([name, labels]) => [name, [...labels].map((label) => `\`${label}\``).join(', ')]))
    assert.deepEqual(documented, real)
    // Also the metrics named in the advice.
    for (const [, name] of read('docs/operating.md').matchAll(/`((?:venue|gateway|detector)_\w+_total)/g)) assert.ok(real.has(name), name)
  })

  test('every member of the status page is documented, and the reverse', async () => {
    const { value } = await server.json('/api/status')
    const parts = { '(top)': value, process: value.process, venues: value.venues[0], detector: value.detector, gateway: value.gateway, limits: value.limits }
    const section = /## One page for everything([\s\S]*?)\n## /.exec(read('docs/operating.md'))[1]
    // `quoteLagMs`, `behind` and `quarantinedMs` are members only while the state lasts.
    const aside = ['fresh', 'partial', 'none', 'gross', 'net', 'likely', 'proven', 'X-Spreadwire-Source', 'quoteLagMs', 'behind', 'quarantinedMs']
    for (const [, part, text] of section.matchAll(/^\| `?([\w()]+)`?(?:, [\w ]+)? \| (.*) \|$/gm)) {
      if (!parts[part]) continue
      const documented = [...text.matchAll(/`([\w-]+)`/g)].map(([, name]) => name).filter((name) => !aside.includes(name))
      assert.deepEqual(documented, Object.keys(parts[part]), part)
      delete parts[part]
    }
    assert.deepEqual(Object.keys(parts), [], 'parts without a row')
  })

  test('the exit codes of the operator', () => {
    const code = (...args) => spawnSync(BINARY, args, { timeout: PATIENCE }).status
    assert.equal(code('demo', '--listen', server.address), 69, 'a port in use')
    assert.equal(code('check-config', path.join(ROOT, 'tests/clients/absent.toml')), 78)
    assert.equal(code('serve'), 2)
  })
})
