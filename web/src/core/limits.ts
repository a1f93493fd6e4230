// What one client may ask for, and what of a wish fits into that. The limits are the gateway's configuration: its status
// page says them, and the error text of a refused request names one (docs/protocol.md).

import type { BookAsked } from './messages.js'
import type { LimitsStatus } from './reports.js'

export interface Limits {
  /** Symbols × exchanges, and order books, together. */
  pairs: number
  /** Names of a kind. */
  names: number
  /** UTF-8 bytes of one name. */
  name: number
  /** Bytes of all names as JSON. */
  bytes: number
}

export const NO_LIMITS: Limits = { pairs: Infinity, names: Infinity, name: Infinity, bytes: Infinity }

/** The defaults of the gateway (docs/protocol.md), for older ones that do not say their limits. */
const USUAL: Limits = { pairs: 4096, names: 1024, name: 64, bytes: 48 * 1024 }

/** The limits of one client as the gateway's status page says them. */
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

/** The limit that an error of the gateway names, if it is about one. */
export function limitIn(message: string): Partial<Limits> | undefined {
  for (const [text, limit] of TEXTS) {
    const found = text.exec(message)
    if (found) return { [limit]: Number(found[1]) }
  }
  return undefined
}

/** What of `wish` fits: the first of each kind, books before symbols since each was asked for by itself. */
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
