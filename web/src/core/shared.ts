// One connection and one board per gateway and proof that is asked for, shared by the whole page.

import { Board } from './board.js'
import { Connection } from './connection.js'
import { gatewayOf, socketUrl } from './environment.js'
import type { MinProof } from './messages.js'

/** The connection to a gateway, and the state that it has received. */
export interface Live {
  readonly connection: Connection
  readonly board: Board
}

const all = new Map<string, Live>()

const keyOf = (url: string, minProof: MinProof) => `${minProof} ${url}`

/**
 * The shared connection to `url` (from `socketUrl`), for holders that ask for the proof `minProof`. It opens no socket until it is
 * held.
 */
export function shared(url: string, minProof: MinProof = 'none'): Live {
  const key = keyOf(url, minProof)
  let live = all.get(key)
  if (!live) {
    const connection = new Connection(url)
    all.set(key, (live = { connection, board: new Board(connection) }))
  }
  return live
}

const found = new Map<string, Live>()

/** The same for any address that `socketUrl` accepts; `undefined` without a page and without an absolute address. */
export function sharedAt(url?: string, minProof: MinProof = 'none'): Live | undefined {
  const gateway = gatewayOf(url)
  const key = keyOf(gateway, minProof)
  let live = found.get(key)
  if (!live) {
    const address = socketUrl(gateway)
    if (address === undefined) return undefined
    found.set(key, (live = shared(address, minProof)))
  }
  return live
}
