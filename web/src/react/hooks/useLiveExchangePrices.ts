import { useCallback, useState } from 'react'
import { HISTORY_MAX, type Board } from '../../core/board.js'
import { sharedAt } from '../../core/shared.js'
import type { ArbitrageAlert, LivePrice } from '../../core/types.js'
import { NONE, isSameList, useBoard, useHold, useStatus } from './live.js'
import { requestNotificationPermission, useNotifications } from './notifications.js'
import type { AlertOptions } from './options.js'

export interface UseLiveExchangePricesOptions extends AlertOptions {
  /** Initial symbols. An inline array is allowed. A changed one replaces the subscription. */
  initialSymbols?: readonly string[] | undefined
  initialExchanges?: readonly string[] | undefined
  /** Default true. */
  autoConnect?: boolean | undefined
  /** Longest delay between two attempts in milliseconds. The first delays are much shorter. Default 10000. */
  reconnectInterval?: number | undefined
  /** Default: unlimited. */
  maxReconnectAttempts?: number | undefined
  /** Browser notifications for alerts above 1 %, if the viewer has allowed them. Default true. */
  notify?: boolean | undefined
}

export interface UseLiveExchangePricesResult {
  /** By `SYMBOL:exchange`: the subscribed pairs that have had a price. */
  prices: Readonly<Record<string, LivePrice>>
  /** Newest first, at most 100. */
  arbitrageAlerts: readonly ArbitrageAlert[]
  isConnected: boolean
  error: string | null
  subscribedSymbols: readonly string[]
  subscribedExchanges: readonly string[]
  subscribe: (symbols: readonly string[], exchanges: readonly string[]) => void
  unsubscribe: (symbols: readonly string[], exchanges: readonly string[]) => void
  getPrice: (symbol: string, exchange: string) => LivePrice | undefined
  getPricesForSymbol: (symbol: string) => LivePrice[]
  connect: () => void
  /** Stays disconnected until `connect()`. */
  disconnect: () => void
  requestNotificationPermission: () => Promise<boolean>
}

type Prices = Readonly<Record<string, LivePrice>>
const NO_PRICES: Prices = {}

/** Live prices of symbols on exchanges, and alerts of the symbols over all exchanges. */
export function useLiveExchangePrices(options: UseLiveExchangePricesOptions = {}): UseLiveExchangePricesResult {
  const {
    initialSymbols = NONE,
    initialExchanges = NONE,
    autoConnect = true,
    notify = true,
    reconnectInterval,
    maxReconnectAttempts,
    url,
    minProof,
    ...feed
  } = options
  const place = { url, minProof }
  const [isActive, setActive] = useState(autoConnect)
  const symbols = useNames(initialSymbols)
  const exchanges = useNames(initialExchanges)

  useHold(place, { symbols: symbols.names, exchanges: exchanges.names, reconnectInterval, maxReconnectAttempts, ...feed }, isActive)
  const status = useStatus(place)
  // A disconnected hook shows nothing, even while the connection serves other hooks.
  const shown = isActive ? symbols.names : NONE
  const prices = useBoard(place, (board) => pricesOf(board, shown, exchanges.names), NO_PRICES, isSameRecord)
  const arbitrageAlerts = useBoard(place, (board) => alertsOf(board, shown), NONE, isSameList)
  useNotifications(arbitrageAlerts, notify)

  const { add: addSymbols, remove: removeSymbols } = symbols
  const { add: addExchanges, remove: removeExchanges } = exchanges
  const subscribe = useCallback(
    (symbols: readonly string[], exchanges: readonly string[]) => {
      addSymbols(symbols)
      addExchanges(exchanges)
    },
    [addSymbols, addExchanges],
  )
  const unsubscribe = useCallback(
    (symbols: readonly string[], exchanges: readonly string[]) => {
      removeSymbols(symbols)
      removeExchanges(exchanges)
    },
    [removeSymbols, removeExchanges],
  )
  const connect = useCallback(() => {
    setActive(true)
    sharedAt(url, minProof)?.connection.connect()
  }, [url, minProof])
  const disconnect = useCallback(() => setActive(false), [])
  const getPrice = useCallback(
    (symbol: string, exchange: string) => {
      return Object.hasOwn(prices, `${symbol}:${exchange}`) ? prices[`${symbol}:${exchange}`] : undefined
    },
    [prices],
  )
  const getPricesForSymbol = useCallback(
    (symbol: string) => {
      return Object.values(prices).filter((price) => price.symbol === symbol)
    },
    [prices],
  )

  return {
    prices,
    arbitrageAlerts,
    isConnected: isActive && status.isConnected,
    error: isActive ? status.error : null,
    subscribedSymbols: symbols.names,
    subscribedExchanges: exchanges.names,
    subscribe,
    unsubscribe,
    getPrice,
    getPricesForSymbol,
    connect,
    disconnect,
    requestNotificationPermission,
  }
}

/** A set of names with the content of `initial`, reset when that content changes. */
function useNames(initial: readonly string[]) {
  const [state, setState] = useState(() => ({ initial, names: withNames(NONE, initial) }))
  let names = state.names
  if (!isSameList(state.initial, initial)) {
    names = withNames(
      withoutNames(
        names,
        state.initial.filter((name) => !initial.includes(name)),
      ),
      initial,
    )
    setState({ initial, names })
  }
  // An unchanged set does not draw the component again: an effect may subscribe at every draw.
  const set = useCallback(
    (change: (names: readonly string[]) => readonly string[]) =>
      setState((state) => {
        const names = change(state.names)
        return names === state.names ? state : { ...state, names }
      }),
    [],
  )
  const add = useCallback((more: readonly string[]) => set((names) => withNames(names, more)), [set])
  const remove = useCallback((gone: readonly string[]) => set((names) => withoutNames(names, gone)), [set])
  return { names, add, remove }
}

const withNames = (names: readonly string[], more: readonly string[]) => {
  const all = [...new Set([...names, ...more])]
  return all.length === names.length ? names : all
}

const withoutNames = (names: readonly string[], gone: readonly string[]) => {
  const left = names.filter((name) => !gone.includes(name))
  return left.length === names.length ? names : left
}

function pricesOf(board: Board, symbols: readonly string[], exchanges: readonly string[]): Prices {
  const prices: Record<string, LivePrice> = {}
  for (const symbol of symbols) {
    for (const exchange of exchanges) {
      const price = board.price(symbol, exchange)
      if (price) prices[`${symbol}:${exchange}`] = price
    }
  }
  return prices
}

function isSameRecord(a: Prices, b: Prices): boolean {
  const names = Object.keys(b)
  return names.length === Object.keys(a).length && names.every((name) => a[name] === b[name])
}

function alertsOf(board: Board, symbols: readonly string[]): readonly ArbitrageAlert[] {
  const lists = symbols.map((symbol) => board.alerts(symbol)).filter((alerts) => alerts.length > 0)
  if (lists.length <= 1) return lists[0] ?? NONE
  return lists
    .flat()
    .sort((a, b) => b.timestamp - a.timestamp)
    .slice(0, HISTORY_MAX)
}
