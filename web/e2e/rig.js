// Shared by the browser tests: the real binary, Chromium, and pages that record all errors.

import { chromium } from 'playwright-core'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, afterEach } from 'node:test'
import { fileURLToPath } from 'node:url'

import { PATIENCE, until } from '../../tests/clients/rig.js'

export * from '../../tests/clients/rig.js'

const ARTIFACTS = fileURLToPath(new URL('artifacts/', import.meta.url))
mkdirSync(ARTIFACTS, { recursive: true })

let browser

/** One Chromium for all tests of a file, without background requests. */
export async function chromiumBrowser() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-default-apps',
      '--disable-sync',
      '--no-first-run',
      '--disable-domain-reliability',
      '--metrics-recording-only',
      '--disable-gpu',
      // Pages in the background are not slowed down.
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows',
    ],
  })
  return browser
}
/** Open pages; a failed test does not close its own. */
const contexts = new Set()
afterEach(async () => {
  for (const context of contexts) await context.close().catch(() => {})
  contexts.clear()
})
after(async () => {
  await browser?.close()
  browser = undefined
})

/**
 * Opens a page in its own context. `page.wrong` collects console errors, uncaught errors, violations of the policy and failed
 * requests; `page.sockets` collects its WebSockets.
 */
export async function openPage(address, { hash = '', viewport = { width: 1440, height: 900 }, ...options } = {}) {
  const context = await (await chromiumBrowser()).newContext({ viewport, ...options })
  contexts.add(context)
  // After this a test gives up.
  context.setDefaultTimeout(PATIENCE)
  const page = await context.newPage()
  page.wrong = []
  page.sockets = []
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && page.wrong.push(message.text()))
  page.on('pageerror', (error) => page.wrong.push(String(error)))
  page.on('websocket', (socket) => page.sockets.push(socket))
  if (address) await page.goto(`http://${address}/${hash}`)
  return page
}

/** Opens a view by its tab. The page changes its view only in the event of the new address, so this waits for it. */
export async function openView(page, title) {
  const link = page.locator('nav a').filter({ hasText: title })
  await link.click()
  await until(`the view ${title}`, async () => (await link.getAttribute('aria-current')) === 'page')
}

/** Saves a screenshot. */
export const picture = (page, name, options = {}) => page.screenshot({ path: path.join(ARTIFACTS, `${name}.png`), ...options })
