// The programs of `examples/` against the real binary: each prints what the gateway sends.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { BINARY, ROOT, Venue, every, leftovers, serveOn, until } from './rig.js'

const example = (name) => path.join(ROOT, 'examples', name)

/** Starts a program and returns a function that gives the lines it has printed so far. */
function start(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => child.kill('SIGKILL')
  leftovers.add(kill)
  const out = { stdout: '', stderr: '', failed: undefined }
  child.stdout.on('data', (bytes) => (out.stdout += bytes))
  child.stderr.on('data', (bytes) => (out.stderr += bytes))
  child.on('error', (error) => (out.failed = error))
  const exited = once(child, 'exit').then(() => leftovers.delete(kill), () => {})
  return {
    /** The lines so far. Fails if the program has ended. */
    lines() {
      assert.ok(child.exitCode === null && !out.failed, `${command} ended: ${out.failed ?? out.stderr}`)
      return out.stdout.split('\n').slice(0, -1)
    },
    async stop() {
      kill()
      await exited
    },
  }
}

/** Two venues with an opportunity while `open`, and their server. Quotes are repeated, so that none grows too old for a leg. */
async function market() {
  const [binance, okx] = [await Venue.open('binance'), await Venue.open('okx')]
  const it = { open: true, server: await serveOn([binance, okx], ['BTC/USDT']) }
  const stop = every(300, () => {
    binance.quote('BTC/USDT', '99', '100')
    okx.quote('BTC/USDT', it.open ? '102' : '100', '103')
  })
  it.end = async () => {
    stop()
    await it.server.stop()
    ;[binance, okx].forEach((venue) => venue.close())
  }
  await until('an opportunity', async () => (await it.server.json('/api/opportunities')).value.open.length > 0)
  return it
}

describe('examples', { concurrency: true }, () => {
  let steady

  before(async () => (steady = await market()))
  after(() => steady.end())

  test('Rust: prices and alerts as JSON lines', async () => {
    const program = start(path.join(path.dirname(BINARY), 'examples', 'prices'), [steady.server.address, 'BTC/USDT', 'binance,okx'])
    const said = () => program.lines().map((line) => JSON.parse(line))
    await until('a price of both exchanges and an alert', () =>
      ['binance', 'okx'].every((name) => said().some((m) => m.type === 'price' && m.exchange === name)) && said().some((m) => m.type === 'arbitrage'))
    assert.equal(said().find((m) => m.type === 'price' && m.exchange === 'okx').bid, 102)
    await program.stop()
  })

  test('Python: the stream of a pair', async () => {
    const program = start('python3', [example('prices.py'), `http://${steady.server.address}`, 'BTC/USDT'])
    await until('a price', () => program.lines().some((line) => /^BTC\/USDT 99 100 \d+$/.test(line)))
    await program.stop()
  })

  test('Node: the life of an opportunity', async () => {
    const moving = await market()
    const flags = globalThis.WebSocket ? [] : ['--experimental-websocket']
    const program = start(process.execPath, [...flags, example('opportunities.mjs'), `ws://${moving.server.address}/ws/prices`, 'BTC/USDT'])
    const count = (change) => program.lines().filter((line) => line.startsWith(`${change} BTC/USDT binance -> okx`)).length
    await until('an end by its price', () => {
      // On a machine that stands still for seconds an opportunity ends by age; then another one opens.
      moving.open = count('opened') === count('closed')
      return program.lines().some((line) => line.startsWith('closed BTC/USDT binance -> okx') && line.endsWith(' sell_moved'))
    })
    assert.ok(program.lines().some((line) => line.startsWith('opened BTC/USDT binance -> okx 2 %')))
    await program.stop()
    await moving.end()
  })
})
