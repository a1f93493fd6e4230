// Clicks everything, and simulates failures of the gateway: no error of the page or in the console, no view without content.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Server, openPage, openView, picture, until } from './rig.js'
import { proxied } from './proxy.js'

const TABS = ['Prices', 'Opportunities', 'Refusals', 'Instrument', 'Latency', 'Venues', 'Settings']
const WIDTHS = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } }

let server
before(async () => {
  server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
})
after(() => server.stop())

/** Waits until the view has content; checks the banner and that nothing has failed. */
async function expectView(page, what) {
  await until(`the view after ${what}`, () =>
    page.evaluate(() => document.querySelectorAll('main h2').length > 0 && document.querySelector('main').innerText.trim().length > 20),
  )
  const found = await page.evaluate(() => ({
    failed: [...document.querySelectorAll('.failed')].map((one) => one.innerText),
    banner: document.querySelector('header')?.innerText ?? '',
  }))
  assert.deepEqual(found.failed, [], what)
  assert.match(found.banner, /spreadwire/, what)
  assert.deepEqual(page.wrong, [], what)
}

for (const [width, viewport] of Object.entries(WIDTHS)) {
  test(`${width}: opens every tab twice`, async () => {
    const page = await openPage(server.address, { viewport })
    await until('rows', async () => (await page.locator('.sw-grid tbody tr').count()) > 0)
    for (const round of ['first', 'second']) {
      for (const title of TABS) {
        await openView(page, title)
        await expectView(page, `${title}, ${round} time`)
        assert.equal(await page.locator('nav a[aria-current]').getAttribute('href'), `#/${title.toLowerCase()}`)
        assert.ok(await page.locator('nav a[aria-current]').isVisible())
      }
    }
    await page.context().close()
  })

  test(`${width}: clicks everything in every view`, async () => {
    const page = await openPage(undefined, { viewport, permissions: ['notifications'] })
    await page.goto(`http://${server.address}/`)
    await until('rows', async () => (await page.locator('.sw-grid tbody tr').count()) > 0)
    const clicked = {}
    for (const title of TABS) {
      const open = async () => {
        await page.evaluate(() => localStorage.clear())
        await page.goto(`http://${server.address}/?${Math.random()}#/${title.toLowerCase()}`)
        await until(`${title} to be whole`, () =>
          page.evaluate(
            () =>
              document.querySelectorAll('main h2').length > 0 &&
              document.querySelectorAll('main tbody tr, main input[type=checkbox]').length > 0,
          ),
        )
      }
      await open()
      const all = 'main button, main summary, main a, main input, main select, main [role=button], main [tabindex], header button, .skip'
      const count = (await page.$$(all)).length
      clicked[title] = 0
      for (let at = 0; at < count; at += 1) {
        // Rows of opportunities come and go: clicks the element that is at this index now.
        const found = (await page.$$(all))[at]
        const kind = await found
          ?.evaluate((one) => (one.isConnected ? `${one.localName} ${one.type ?? ''} ${one.getAttribute('href') ?? ''}` : ''))
          .catch(() => '')
        if (!kind) continue
        if (/^a .*(api|metrics)$/.test(kind)) {
          const target = await found.evaluate((one) => one.href)
          assert.equal((await page.request.get(target)).status(), 200, target)
        } else if (kind.startsWith('select')) {
          for (const value of await found.evaluate((one) => [...one.options].map((option) => option.value))) {
            await found.selectOption(value)
            await expectView(page, `${title}: ${kind} at ${at} to ${value}`)
          }
        } else if (/^input (search|number|text)/.test(kind)) {
          for (const text of ['7', '', '0.1', '99']) await found.fill(text)
        } else {
          // Clicks elements that are covered, too, as by keyboard.
          await found.evaluate((one) => one.click()).catch(() => {})
        }
        clicked[title] += 1
        await expectView(page, `${title}: ${kind} at ${at}`)
        if ((await page.evaluate(() => location.hash)) !== `#/${title.toLowerCase()}` || title === 'Settings') await open()
      }
    }
    console.log(JSON.stringify({ width, clicked }))
    for (const title of TABS) assert.ok(clicked[title] > 0, `${title} has something to click`)
    assert.deepEqual(page.wrong, [])
    await page.context().close()
  })
}

describe('a gateway that fails in other ways', () => {
  const LISTED = { instruments: [{ symbol: 'BTC/USDT', exchanges: ['okx', 'binance'] }] }

  /** Opens the page with these responses of the gateway's pages. */
  async function views(answers) {
    const page = await openPage()
    page.bodies = answers
    await page.route('**/api/**', (route) => {
      const path = new URL(route.request().url()).pathname
      const answer = path in page.bodies ? page.bodies[path] : undefined
      return answer === undefined ? route.continue() : route.fulfill(answer)
    })
    await page.goto(`http://${server.address}/`)
    return page
  }

  test('error pages instead of reports: the views stay and are marked as not current', async () => {
    const refused = { status: 503, json: { error: 'Service temporarily at capacity' } }
    const page = await views({})
    await until('rows', async () => (await page.locator('.sw-grid tbody tr').count()) > 0)
    page.bodies = Object.fromEntries(
      ['status', 'latency', 'instruments', 'opportunities', 'websocket/stats'].map((name) => [`/api/${name}`, refused]),
    )
    await until('the banner', async () => /answers 503/.test(await page.locator('header').innerText()))
    for (const title of TABS) {
      await openView(page, title)
      await until(`${title}`, () => page.evaluate(() => document.querySelector('main').innerText.trim().length > 10))
      assert.equal(await page.locator('.failed').count(), 0, title)
    }
    await until('prices to continue', async () => (await page.locator('header').innerText()).includes('Connected'))
    page.bodies = {}
    await openView(page, 'Venues')
    await until('the venues again', async () => /of \d+ connected/.test(await page.locator('main').innerText()))
    assert.deepEqual(
      page.wrong.filter((text) => !/503/.test(text)),
      [],
    )
    await page.context().close()
  })

  test('an invalid report fails one view, which can try again; the others still work', async () => {
    const real = (await server.json('/api/status')).value
    const page = await views({
      '/api/instruments': { json: LISTED },
      '/api/status': { json: { ...real, venues: [{ exchange: null, state: 7 }] } },
    })
    await openView(page, 'Venues')
    const failed = page.locator('main .failed')
    await failed.waitFor()
    assert.match(await failed.innerText(), /This view cannot be shown: .+The rest of the page still works/s)
    assert.ok((await page.locator('nav a').count()) === TABS.length && /spreadwire/.test(await page.locator('header').innerText()))
    await picture(page, 'failed-view')
    await openView(page, 'Prices')
    await until('prices', async () => /\d/.test(await page.locator('.sw-grid tbody').innerText()))
    await openView(page, 'Venues')
    await failed.waitFor()
    page.bodies = {}
    await until('the view again', async () => {
      if ((await failed.count()) > 0) await failed.getByRole('button', { name: 'Try again' }).click()
      return /of \d+ connected/.test(await page.locator('main').innerText())
    })
    await page.context().close()
  })

  test('a frozen gateway: header, prices, books and venues show it, and all recover when it continues', async () => {
    const frozen = await Server.start(['demo', '--listen', '127.0.0.1:0'])
    const page = await openPage(frozen.address)
    const header = page.locator('header.banner')
    const main = page.locator('main')
    await until('prices', async () => (await page.locator('.sw-cell .sw-best').count()) > 0)
    await openView(page, 'Instrument')
    await page.locator('section[aria-labelledby="book-title"] tbody tr').first().waitFor()
    frozen.child.kill('SIGSTOP')
    try {
      await until(
        'the header',
        async () => /Disconnected/.test(await header.innerText()) && /does not answer/.test(await header.innerText()),
      )
      await until('no book', async () => /No order book/.test(await main.innerText()))
      await until('no fresh row', async () => (await main.locator('.sw-pill.sw-good').count()) === 0)
      await openView(page, 'Prices')
      await until('no best price', async () => (await page.locator('.sw-grid .sw-best').count()) === 0)
      await openView(page, 'Venues')
      await until('venues', async () => /Not current/.test(await main.innerText()))
      assert.equal(await main.locator('.sw-good').count(), 0, 'nothing is green')
      assert.match(await main.innerText(), /was connected/)
      assert.doesNotMatch(await main.innerText(), /\d of \d+ connected/)
      await picture(page, 'frozen-venues')
      await openView(page, 'Latency')
      await until('latency', async () => /Not current/.test(await main.innerText()))
      await openView(page, 'Opportunities')
      await until('opportunities', async () => /not known/.test(await main.innerText()))
    } finally {
      frozen.child.kill('SIGCONT')
    }
    await until('all again', async () => /Connected/.test(await header.innerText()) && !/does not answer/.test(await header.innerText()))
    await openView(page, 'Venues')
    await until('venues', async () => /\d+ of \d+ connected/.test(await main.innerText()) && !/Not current/.test(await main.innerText()))
    assert.deepEqual(page.wrong, [])
    await page.context().close()
    await frozen.stop()
  })
})

test('below a path of another host: everything is found there, and nothing is requested elsewhere', async () => {
  const proxy = await proxied(server.address, '/spreadwire/')
  const page = await openPage(`${proxy.address}/spreadwire`)
  await until('prices', async () => (await page.locator('.sw-cell .sw-best').count()) > 0)
  for (const title of TABS) {
    await openView(page, title)
    await expectView(page, title)
  }
  assert.match(page.sockets[0].url(), /\/spreadwire\/ws\/prices$/)
  await openView(page, 'Venues')
  const links = await page.evaluate(() => [...document.querySelectorAll('main a[href]')].map((one) => one.href))
  for (const link of links.filter((href) => !href.includes('#'))) assert.match(link, /\/spreadwire\//)
  assert.deepEqual(
    proxy.strayed.filter((path) => path !== '/favicon.ico'),
    [],
  )
  assert.deepEqual(page.wrong, [])
  await page.context().close()
  proxy.stop()
})
