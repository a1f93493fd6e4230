// The golden messages are the files that the gateway's tests use: a change on one side only fails here.
import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseMessage, parseStreamEvent, readMarketDataPrice } from '../src/core/messages.js'
import { compile } from './compile.js'

const folder = new URL('../../tests/fixtures/protocol/', import.meta.url)
const golden = (name: string) => readFileSync(new URL(`${name}.json`, folder), 'utf8').trim()
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length))

/** Pages have types only. The compiler reports missing and excess members of a literal. */
const PAGES: Record<string, string> = {
  status: 'reports.Status',
  instruments: 'reports.Instruments',
  opportunities: 'reports.Opportunities',
  precision: 'reports.Precision',
  survival: 'reports.Survival',
}

/** The reader of a message, by the first word of its file name. */
const READERS: Record<string, (text: string) => unknown> = {
  price: parseMessage,
  arbitrage: parseMessage,
  opportunity: parseMessage,
  set: parseMessage,
  book: parseMessage,
  subscribed: parseMessage,
  unsubscribed: parseMessage,
  error: parseMessage,
  stream: parseStreamEvent,
  market: (text) => readMarketDataPrice(JSON.parse(text)),
}

/** Members that may be null. */
const MAY_BE_NULL = new Set([
  ...['sequence', 'exchangeTime', 'ageMs', 'source'].map((member) => `book.${member}`),
  ...['proofMs', 'proofErrorMs', 'buyExcessLagMs', 'sellExcessLagMs'].map((member) => `opportunity.${member}`),
])

/** Members that earlier gateways do not send. */
const MAY_BE_MISSING = new Set(
  [
    'group',
    'groupLeg',
    'groupSize',
    'proof',
    'proofMs',
    'proofErrorMs',
    'buyExcessLagMs',
    'sellExcessLagMs',
    'reason',
    'class',
    'survival',
  ].map((member) => `opportunity.${member}`),
)

describe('golden messages', () => {
  test.each(names.filter((name) => !(name in PAGES)))('%s is read exactly', (name) => {
    const read = READERS[name.split('_')[0]!]
    expect(read, 'unknown to this client: type it in src/core/messages.ts, or src/core/reports.ts for a page').toBeDefined()
    expect(read!(golden(name))).toStrictEqual(JSON.parse(golden(name)))
  })

  test('a message with a missing member or one of another type is not accepted', () => {
    for (const name of names.filter((name) => !(name in PAGES) && !/_extended|_stale|_alias|_no_|book_|_books/.test(name))) {
      const read = READERS[name.split('_')[0]!]!
      const message = JSON.parse(golden(name)) as Record<string, unknown>
      for (const member of Object.keys(message)) {
        const { [member]: _, ...without } = message
        const place = `${name.split('_')[0]}.${member}`
        expect(read(JSON.stringify(without)) === undefined, `${name} without ${member}`).toBe(!MAY_BE_MISSING.has(place))
        const wrongs = MAY_BE_NULL.has(place) ? [{}, [null]] : [null, {}, [null]]
        for (const wrong of wrongs) {
          expect(read(JSON.stringify({ ...message, [member]: wrong })), `${name}, ${member}: ${JSON.stringify(wrong)}`).toBeUndefined()
        }
      }
    }
  })

  test('pages match their types exactly', () => {
    const literals = Object.entries(PAGES).map(([name, type]) => `export const ${name}: ${type} = ${golden(name)}`)
    expect(compile({ 'pages.ts': ["import type { reports } from 'spreadwire'", ...literals].join('\n') })).toBe('')
  })

  test('a page with another member does not compile', () => {
    const wrong = ['{"instruments":[{"symbol":"A/B","exchanges":[],"more":1}]}', '{"instruments":[{"symbol":"A/B"}]}']
    const literals = wrong.map((text, at) => `export const x${at}: reports.Instruments = ${text}`)
    expect(compile({ 'pages.ts': ["import type { reports } from 'spreadwire'", ...literals].join('\n') }).match(/error TS/g)?.length).toBe(
      2,
    )
  })
})
