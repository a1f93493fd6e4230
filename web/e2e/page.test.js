// The dashboard in a real browser, against the real binary: moving prices, silent exchanges and restarts of the gateway.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Server, openPage, openView, picture, serve, until } from './rig.js'

/** Starts one process per simulated exchange, so that one can be stopped. */
async function simulated(...names) {
  const sims = {}
  let toml = ''
  for (const name of names) {
    const sim = await Server.start(['sim', '--listen', '127.0.0.1:0', '--venues', name, '--rate', '100'])
    const found = () => new RegExp(`^ {2}${name} +(\\S+://\\S+)$`, 'm').exec(sim.stdout)
    const [, address] = await until('the address', found)
    toml += `[venue.${name}]\naddress = "${address}"\n`
    sims[name] = sim
  }
  return { sims, toml: `venues = [${names.map((name) => `"${name}"`).join(', ')}]\n${toml}` }
}

/** The cells of an exchange in the grid: text and staleness. */
const column = (page, exchange) =>
  page.evaluate((name) => {
    const heads = [...document.querySelectorAll('.sw-grid thead th')].map((head) => head.textContent.trim())
    const at = heads.indexOf(name)
    return [...document.querySelectorAll('.sw-grid tbody tr')].map((row) => {
      const cell = row.children[at]
      return { text: cell?.innerText ?? '', stale: cell?.classList.contains('sw-cell-stale') ?? false }
    })
  }, exchange)

const isPriced = (cell) => /\d/.test(cell.text)
const every = (cells, what) => cells.length > 0 && cells.every(what)
/** Whether the browser reports an unreachable server. */
const isNetwork = (text) => /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE|WebSocket connection to|ERR_SOCKET|ERR_ABORTED/.test(text)

describe('a viewer', () => {
  test('prices move, an opportunity opens and closes, the banner says simulated, one socket, no error', async () => {
    const server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
    const page = await openPage(server.address)
    await until('a price in each cell', async () =>
      every((await Promise.all(['binance', 'okx'].map((name) => column(page, name)))).flat(), isPriced),
    )
    const before = await page.locator('.sw-grid tbody').innerText()
    await until('prices that move', async () => (await page.locator('.sw-grid tbody').innerText()) !== before)
    assert.match(await page.locator('header').innerText(), /Simulated prices, not a market/)
    assert.ok((await page.locator('.sw-side.sw-best').count()) >= 10, 'best bids and asks are marked')

    await openView(page, 'Opportunities')
    const openRows = page.getByRole('table', { name: 'Open opportunities' }).getByRole('row')
    await until('an opportunity', async () => (await openRows.count()) > 1)
    const first = await openRows.nth(1).innerText()
    assert.match(first, /simulated/)
    assert.match(first, /→/)
    const symbol = first.split(/\s/)[0]
    const closed = page.getByRole('table', { name: 'Closed opportunities' })
    await until('it closed', async () => (await closed.count()) > 0 && (await closed.innerText()).includes(symbol))
    // The exchanges' clocks are known after the first answered pings.
    const proven = closed.getByRole('row').filter({ has: page.getByText(/^proven \d/) })
    await until('one that is proven', async () => (await proven.count()) > 0)
    const proof = proven.first().locator('.sw-proof .sw-pill')
    assert.match(await proof.getAttribute('title'), /both legs existed together, for .+; error of the clocks /)
    assert.match(await proven.first().locator('.sw-lag').innerText(), /(–|\d+ (ms|s)) \/ (–|\d+ (ms|s))/)

    for (const view of ['Instrument', 'Latency', 'Venues', 'Settings', 'Prices']) {
      await openView(page, view)
      await until(view, () => page.evaluate(() => document.querySelectorAll('main h2').length > 0))
    }
    assert.equal(page.sockets.length, 1, 'one socket, whatever is shown')
    assert.deepEqual(page.wrong, [])
    await page.context().close()
    await server.stop()
  })

  test('a silent exchange becomes stale, the other stays fresh; both are fresh when it continues', async () => {
    const { sims, toml } = await simulated('binance', 'okx')
    const server = await serve(toml)
    const page = await openPage(server.address)
    await until('prices of both', async () => every([...(await column(page, 'binance')), ...(await column(page, 'okx'))], isPriced))
    sims.okx.child.kill('SIGSTOP')
    await until('stale cells', async () => every(await column(page, 'okx'), (cell) => cell.stale && /stale \d/.test(cell.text)))
    await picture(page, 'silenced')
    const best = await page.locator('.sw-cell-stale .sw-best').count()
    assert.equal(best, 0, 'what is stale is never the best')
    await until('the other exchange to be fresh', async () => every(await column(page, 'binance'), (cell) => isPriced(cell) && !cell.stale))
    await until('the banner names it', async () => /okx is/.test(await page.locator('header').innerText()))
    sims.okx.child.kill('SIGCONT')
    await until('fresh again', async () => every(await column(page, 'okx'), (cell) => isPriced(cell) && !cell.stale))
    assert.deepEqual(page.wrong, [])
    await page.context().close()
    await server.stop()
    await Promise.all(Object.values(sims).map((sim) => sim.stop()))
  })

  test('the page recovers automatically after a restart of the gateway', async () => {
    const { sims, toml } = await simulated('binance', 'okx')
    const server = await serve(toml)
    const port = Number(server.address.split(':')[1])
    const page = await openPage(server.address)
    await until('prices', async () => every(await column(page, 'okx'), isPriced))
    await server.stop()
    await until('the page says so', async () => /does not answer/.test(await page.locator('[role=alert]').innerText()))
    assert.ok(
      every(await column(page, 'okx'), (cell) => !isPriced(cell) || cell.stale),
      'nothing looks fresh',
    )
    await picture(page, 'gateway-gone')
    await until('attempts that fail', () => page.sockets.length > 2)
    const again = await serve(toml, { port })
    await until('fresh prices', async () => every(await column(page, 'okx'), (cell) => isPriced(cell) && !cell.stale))
    await until('no alert is left', async () => (await page.locator('[role=alert]').count()) === 0)
    assert.equal(page.sockets.filter((socket) => !socket.isClosed()).length, 1)
    assert.deepEqual(
      page.wrong.filter((text) => !isNetwork(text)),
      [],
    )
    await page.context().close()
    await again.stop()
    await Promise.all(Object.values(sims).map((sim) => sim.stop()))
  })

  test('notifications of new opportunities after the viewer enables them, and none before', async () => {
    const server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
    const page = await openPage(undefined, { permissions: ['notifications'] })
    // Records notifications instead of showing them.
    await page.addInitScript(() => {
      window.notifications = []
      window.Notification = class {
        static permission = 'granted'
        constructor(title, { body, tag }) {
          window.notifications.push({ title, body, tag })
        }
      }
    })
    await page.goto(`http://${server.address}/#/settings`)
    const opened = () => page.evaluate(() => Number(document.querySelector('.count')?.textContent ?? 0))
    await until('an opportunity', opened)
    assert.deepEqual(await page.evaluate(() => window.notifications), [])
    await page.getByLabel('Notify me').check()
    await until('it to close', async () => (await opened()) === 0)
    const first = await until('a notification', async () => (await page.evaluate(() => window.notifications))[0])
    assert.match(first.title, /^\w+\/USDT \d+\.\d\d%$/)
    assert.match(first.body, /^buy on \w+, sell on \w+$/)
    assert.match(first.tag, /^arbitrage-/)
    assert.deepEqual(page.wrong, [])
    await page.context().close()
    await server.stop()
  })

  test('subscriptions, threshold and theme are settings that survive a reload', async () => {
    const server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
    const page = await openPage(server.address, { hash: '#/settings' })
    await page.getByLabel('DOGE/USDT').uncheck()
    await page.getByLabel('kraken').uncheck()
    await page.getByLabel('Theme').selectOption('dark')
    await page.getByLabel('Smallest spread').fill('50')
    await page.reload()
    await openView(page, 'Prices')
    await until('prices', async () => every(await column(page, 'okx'), isPriced))
    const table = await page.locator('.sw-grid').innerText()
    assert.ok(!table.includes('DOGE') && !table.includes('kraken') && table.includes('BTC/USDT'), table)
    await until('a gateway that sends only what is watched', async () => {
      const { stats } = (await server.json('/api/websocket/stats')).value
      // 8 instruments on 5 exchanges.
      return stats.totalSubscriptions === 40
    })
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark')
    await until('none above the threshold', async () => /No opportunity is open/.test(await page.locator('main').innerText()))
    await page.getByPlaceholder('Filter').fill('eth')
    await until('one row', async () => (await page.locator('.sw-grid tbody tr').count()) === 1)
    await page.locator('.sw-grid tbody button').click()
    await page.waitForURL(/#\/instrument\/ETH%2FUSDT$/)
    await page.locator('canvas').first().waitFor()
    await page.getByLabel('Exchange of the order book').selectOption('okx')
    const ladder = page.locator('section[aria-labelledby="book-title"] tbody tr')
    await until('an order book', async () => (await ladder.count()) === 8)
    const [, bid, ask] = (await ladder.first().locator('td').allInnerTexts()).map((text) => Number(text.replaceAll(',', '')))
    assert.ok(bid > 0 && ask > bid, `${bid} ${ask}`)
    assert.deepEqual(page.wrong, [])
    await page.context().close()
    await server.stop()
  })
})
