// What the browser tests share: the real binary, Debian's Chromium, and pages that note all that goes wrong.

import { chromium } from 'playwright-core'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, afterEach } from 'node:test'
import { fileURLToPath } from 'node:url'

import { PATIENCE } from '../../tests/clients/rig.js'

export * from '../../tests/clients/rig.js'

const ARTIFACTS = fileURLToPath(new URL('artifacts/', import.meta.url))
mkdirSync(ARTIFACTS, { recursive: true })

let browser

/** One Chromium for all tests of a file, quiet on the network. */
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
      // A test looks at one page after the other; none is in the background for that.
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows',
    ],
  })
  return browser
}
/** A page that a failed test leaves open would keep the machine busy. */
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
 * A page of its own viewer. `page.wrong` collects errors in the console, uncaught ones, refusals of the policy and
 * failed requests; `page.sockets` the WebSockets that it opened.
 */
export async function openPage(address, { hash = '', viewport = { width: 1440, height: 900 }, ...options } = {}) {
  const context = await (await chromiumBrowser()).newContext({ viewport, ...options })
  contexts.add(context)
  // How long anything may take on a busy machine before a test gives up.
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

/** Keeps what the page looks like for people to look at. */
export const picture = (page, name, options = {}) => page.screenshot({ path: path.join(ARTIFACTS, `${name}.png`), ...options })
