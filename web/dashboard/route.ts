// Where the viewer is: the part of the address behind `#`.

import { useSyncExternalStore } from 'react'

export const VIEWS = [
  ['prices', 'Prices'],
  ['opportunities', 'Opportunities'],
  ['instrument', 'Instrument'],
  ['latency', 'Latency'],
  ['venues', 'Venues'],
  ['settings', 'Settings'],
] as const

/** Shows one instrument in depth. */
export const choose = (symbol: string) => {
  location.hash = `#/instrument/${encodeURIComponent(symbol)}`
}

/** The view, and what of it: `#/instrument/BTC%2FUSDT`. */
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
