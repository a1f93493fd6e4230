// Order books, from the exchange's socket to a third-party client.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Venue, serveOn, until } from './rig.js'

const BIDS = [['102.5', '1'], ['102', '2.25'], ['101', '3']]
const ASKS = [['103', '0.5'], ['104', '2']]
const numbers = (levels) => levels.map((level) => level.map(Number))
const BOOK = { symbol: 'btc/usdt', exchange: 'okx' }

describe('order books', () => {
  let okx, server

  before(async () => {
    okx = await Venue.open('okx')
    server = await serveOn([okx], ['BTC/USDT'], '[feed]\nbackoff_first_ms = 50\n')
    // A connection for prices, and one for books.
    await until('both connections', () => okx.sockets.size === 2)
  })
  after(async () => {
    await server.stop()
    okx.close()
  })

  test('a book is complete and sorted, void after a gap or a lost connection, and recovers automatically', async () => {
    const client = await server.client()
    const quiet = await server.client()
    await quiet.subscribe(['BTC/USDT'], ['okx'])
    client.send({ action: 'subscribe', books: [BOOK], levels: 2 })
    assert.deepEqual((await client.next('subscribed')).value.books, [{ ...BOOK, levels: 2 }])
    const state = async (...wanted) => {
      const { value } = await client.next('book')
      assert.deepEqual([value.state, value.reason].filter(Boolean), wanted)
      return value
    }
    await state('none', 'waiting')
    okx.book('BTC/USDT', BIDS, ASKS)
    const live = await state('live')
    assert.deepEqual([live.symbol, live.bids, live.asks], ['btc/usdt', numbers(BIDS.slice(0, 2)), numbers(ASKS)])
    const page = (await server.json('/api/book?symbol=btc/usdt&exchange=okx')).value
    assert.deepEqual([page.bids, page.sequence, page.state], [numbers(BIDS), live.sequence, 'live'])

    okx.skip('BTC/USDT')
    assert.deepEqual((await state('void', 'gap')).bids, [])
    okx.book('BTC/USDT', BIDS, ASKS)
    assert.equal((await state('live')).voids, 1)

    okx.lose()
    await state('void', 'lost')
    okx.accept()
    assert.deepEqual((await state('live')).asks, numbers(ASKS))
    assert.equal(quiet.heard.filter(({ value }) => value.type === 'book').length, 0, 'not sent to other clients')
    assert.match((await server.get('/metrics')).body, /^spreadwire_book_voids_total\{venue="okx",reason="lost"\} 1$/m)
    await Promise.all([client.close(), quiet.close()])
  })
})
