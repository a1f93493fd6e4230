// Rendering on a server: no page, no sockets, no crash.
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { describe, expect, test, vi } from 'vitest'
import * as hooks from '../src/react/hooks/index.js'

const SYMBOLS = ['BTC/USDT']

describe.each([undefined, 'https://gateway.example'])('on a server, url %s', (url) => {
  test('every hook returns its empty value and opens nothing', () => {
    const opened = vi.fn()
    for (const name of ['WebSocket', 'EventSource', 'fetch']) vi.stubGlobal(name, opened)
    const seen: Record<string, unknown> = {}
    const Component = () => {
      seen.live = hooks.useLiveExchangePrices({ initialSymbols: SYMBOLS, initialExchanges: ['okx'], url })
      seen.monitor = hooks.useArbitrageMonitor('BTC/USDT', 0.5, { url })
      seen.comparison = hooks.useExchangePriceComparison('BTC/USDT', ['okx'], { url })
      seen.stream = hooks.usePriceStream(['BTC/USD'], { url })
      seen.polling = hooks.usePriceCachePolling(['BTC/USD'], { url })
      seen.price = hooks.useLivePrice('BTC/USDT', 'okx', { url })
      seen.opportunities = hooks.useOpportunities(SYMBOLS, { url })
      seen.connection = hooks.useConnection(url)
      seen.page = hooks.usePage('/api/market-data/health', { url })
      return createElement('p', null, 'drawn')
    }
    expect(renderToString(createElement(Component))).toBe('<p>drawn</p>')
    expect(seen).toMatchObject({
      live: { prices: {}, isConnected: false, subscribedSymbols: SYMBOLS },
      monitor: { bestOpportunity: null, alertCount: 0 },
      comparison: { potentialSpread: null, comparison: [{ exchange: 'okx', available: false }] },
      stream: { status: 'idle' },
      polling: { status: 'polling', isLoading: true },
      price: undefined,
      opportunities: { open: [], closed: [] },
      connection: { state: 'idle' },
      page: { value: undefined, status: 0 },
    })
    expect(opened).not.toHaveBeenCalled()
    vi.unstubAllGlobals()
  })
})

test('permission to notify is not requested on a server', async () => {
  expect(await hooks.requestNotificationPermission()).toBe(false)
})
