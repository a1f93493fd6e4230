// One connection and one board per gateway, shared by the whole page.

import { Board } from './board.js'
import { Connection } from './connection.js'
import { gatewayOf, socketUrl } from './environment.js'

/** The connection to a gateway, and the state that it has received. */
export interface Live {
  readonly connection: Connection
  readonly board: Board
}

const all = new Map<string, Live>()

/** The shared connection to `url` (from `socketUrl`). It opens no socket until it is held. */
export function shared(url: string): Live {
  let live = all.get(url)
  if (!live) {
    const connection = new Connection(url)
    all.set(url, (live = { connection, board: new Board(connection) }))
  }
  return live
}

const found = new Map<string, Live>()

/** The same for any address that `socketUrl` accepts; `undefined` without a page and without an absolute address. */
export function sharedAt(url?: string): Live | undefined {
  const gateway = gatewayOf(url)
  let live = found.get(gateway)
  if (!live) {
    const address = socketUrl(gateway)
    if (address === undefined) return undefined
    found.set(gateway, (live = shared(address)))
  }
  return live
}
