// The limits of one client, and the part of a subscription that fits into them. The gateway's status page contains the limits,
// and the error of a rejected request names one of them (docs/protocol.md).

import type { BookAsked } from './messages.js'
import type { LimitsStatus } from './reports.js'

export interface Limits {
  /** Symbols × exchanges, plus order books. */
  pairs: number
  /** Symbols, and likewise exchanges. */
  names: number
  /** UTF-8 bytes of one name. */
  name: number
  /** Bytes of all names as JSON. */
  bytes: number
}

export const NO_LIMITS: Limits = { pairs: Infinity, names: Infinity, name: Infinity, bytes: Infinity }

/** The gateway's defaults (docs/protocol.md), for older gateways whose status page has no limits. */
const USUAL: Limits = { pairs: 4096, names: 1024, name: 64, bytes: 48 * 1024 }

/** The limits of one client, from the gateway's status page. */
export function limitsOf(status: Partial<LimitsStatus> = {}): Limits {
  const { pairsMax = USUAL.pairs, namesMax = USUAL.names, nameBytesMax = USUAL.name, namesBytesMax = USUAL.bytes } = status
  return { pairs: pairsMax, names: namesMax, name: nameBytesMax, bytes: namesBytesMax }
}

export interface Wish {
  symbols: string[]
  exchanges: string[]
  books: BookAsked[]
}

const TEXTS: readonly [RegExp, keyof Limits][] = [
  [/^Too many (?:pairs|books): at most (\d+)/, 'pairs'],
  [/^Too many names: at most (\d+)/, 'names'],
  [/^Name too long: at most (\d+)/, 'name'],
  [/^Names too long: at most (\d+)/, 'bytes'],
]

/** The limit that an error message names, if any. */
export function limitIn(message: string): Partial<Limits> | undefined {
  for (const [text, limit] of TEXTS) {
    const found = text.exec(message)
    if (found) return { [limit]: Number(found[1]) }
  }
  return undefined
}

/** The part of `wish` that fits: the first of each kind. Books come before symbols because each book is requested explicitly. */
export function fitting(wish: Wish, limits: Limits): Wish & { isAll: boolean } {
  let bytes = limits.bytes
  const fits = (...names: string[]) => {
    if (names.some((name) => utf8Length(name) > limits.name)) return false
    const size = names.reduce((sum, name) => sum + utf8Length(JSON.stringify(name)), 0)
    if (size > bytes) return false
    bytes -= size
    return true
  }
  const exchanges = wish.exchanges.slice(0, Math.min(limits.names, limits.pairs)).filter((name) => fits(name))
  const books = wish.books.slice(0, Math.max(0, limits.pairs - exchanges.length)).filter(({ symbol, exchange }) => fits(symbol, exchange))
  const room = Math.floor((limits.pairs - books.length) / Math.max(1, exchanges.length))
  const symbols = wish.symbols.slice(0, Math.min(limits.names, room)).filter((name) => fits(name))
  const isAll = exchanges.length === wish.exchanges.length && books.length === wish.books.length && symbols.length === wish.symbols.length
  return { symbols, exchanges, books, isAll }
}

/** Length in UTF-8. */
export function utf8Length(text: string): number {
  let length = 0
  for (const char of text) {
    const code = char.codePointAt(0)!
    length += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
  }
  return length
}
