// The golden messages are the same files that hold the gateway: a change on one side only fails here.
import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseMessage, parseStreamEvent, readMarketDataPrice } from '../src/core/messages.js'

const folder = new URL('../../tests/fixtures/protocol/', import.meta.url)
const names = readdirSync(folder).filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))

/** Who reads a message, by the first word of its file. */
const READERS: Record<string, (text: string) => unknown> = {
  price: parseMessage,
  arbitrage: parseMessage,
  opportunity: parseMessage,
  subscribed: parseMessage,
  unsubscribed: parseMessage,
  error: parseMessage,
  stream: parseStreamEvent,
  market: (text) => readMarketDataPrice(JSON.parse(text)),
}

describe('golden messages', () => {
  test.each(names)('%s is read as exactly what it says', (name) => {
    const text = readFileSync(new URL(`${name}.json`, folder), 'utf8').trim()
    const read = READERS[name.split('_')[0]!]
    expect(read, 'a message that this client does not know: type it in src/core/messages.ts').toBeDefined()
    expect(read!(text)).toStrictEqual(JSON.parse(text))
  })
})
