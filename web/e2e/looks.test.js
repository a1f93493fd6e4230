// Pictures of every view, and automatic checks of accessibility.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { Server, openPage, openView, picture, until } from './rig.js'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const VIEWS = ['prices', 'opportunities', 'refusals', 'instrument', 'latency', 'venues', 'settings']
const LOOKS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 } },
}

let server
before(async () => {
  server = await Server.start(['demo', '--listen', '127.0.0.1:0'])
})
after(() => server.stop())

for (const [look, options] of Object.entries(LOOKS)) {
  test(`${look}: no serious finding of axe, no page wider than the window`, async () => {
    const page = await openPage(server.address, options)
    await page.locator('.sw-grid tbody tr').first().waitFor()
    // Scripts of the test are not subject to the policy.
    await page.evaluate(AXE)
    for (const view of VIEWS) {
      await openView(page, view)
      await until(view, () =>
        page.evaluate(
          () =>
            document.querySelectorAll('main h2').length > 0 && !/Waiting for the gateway/.test(document.querySelector('main').innerText),
        ),
      )
      await picture(page, `${look}-${view}`, { fullPage: true })
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      const found = serious.map(
        ({ id, nodes }) =>
          `${id}: ${nodes
            .slice(0, 3)
            .map((node) => node.html)
            .join(' | ')}`,
      )
      assert.deepEqual(found, [], `${look} ${view}`)
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
      assert.ok(beyond <= 0, `${look} ${view} is ${beyond} pixels too wide`)
    }
    assert.deepEqual(page.wrong, [])
    await page.context().close()
  })
}

test('everything can be reached by keyboard, and the focus is visible', async () => {
  const page = await openPage(server.address)
  await page.locator('.sw-grid tbody button').first().waitFor()
  const seen = new Set()
  for (let step = 0; step < 16; step += 1) {
    await page.keyboard.press('Tab')
    const found = await page.evaluate(() => {
      const one = document.activeElement
      const style = getComputedStyle(one)
      return {
        what: `${one.tagName} ${(one.textContent ?? '').trim().slice(0, 20)}`,
        outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
      }
    })
    assert.ok(found.outline, `no outline on ${found.what}`)
    seen.add(found.what.split(' ')[0])
  }
  assert.ok(
    ['A', 'INPUT', 'DIV', 'BUTTON'].every((tag) => seen.has(tag)),
    [...seen].join(),
  )
  await page.context().close()
})
