// One connection and one board per gateway for the whole page, whoever asks.

import { Board } from './board.js'
import { Connection } from './connection.js'
import { gatewayOf, socketUrl } from './environment.js'

/** A gateway's connection and what it has heard. */
export interface Live {
  readonly connection: Connection
  readonly board: Board
}

const all = new Map<string, Live>()

/** The page's own connection to `url` (from `socketUrl`). It costs nothing until somebody holds it. */
export function shared(url: string): Live {
  let live = all.get(url)
  if (!live) {
    const connection = new Connection(url)
    all.set(url, (live = { connection, board: new Board(connection) }))
  }
  return live
}

const found = new Map<string, Live>()

/** The same by any form of address that `socketUrl` reads; nothing where there is no page and no whole address. */
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
