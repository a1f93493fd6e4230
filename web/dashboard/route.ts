// The current view: the part of the address after `#`.

import { useSyncExternalStore } from 'react'

export const VIEWS = [
  ['prices', 'Prices'],
  ['opportunities', 'Opportunities'],
  ['refusals', 'Refusals'],
  ['instrument', 'Instrument'],
  ['latency', 'Latency'],
  ['venues', 'Venues'],
  ['settings', 'Settings'],
] as const

/** Opens the view of one instrument. */
export const choose = (symbol: string) => {
  location.hash = `#/instrument/${encodeURIComponent(symbol)}`
}

/** The view and its subject, such as `#/instrument/BTC%2FUSDT`. */
export function useRoute(): { view: (typeof VIEWS)[number][0]; rest: string } {
  const hash = useSyncExternalStore(
    (listener) => {
      addEventListener('hashchange', listener)
      return () => removeEventListener('hashchange', listener)
    },
    () => location.hash,
  )
  const [, asked = '', rest = ''] = /^#\/(\w+)\/?(.*)$/.exec(hash) ?? []
  const view = VIEWS.find(([name]) => name === asked)?.[0] ?? 'prices'
  return { view, rest: decoded(rest) }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}
