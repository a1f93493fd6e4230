import type { ArbitrageAlert, LivePrice } from '../../core/types.js'
import type { HookOptions } from './options.js'
import { requestNotificationPermission } from './notifications.js'

export interface UseLiveExchangePricesOptions extends HookOptions {
  /** Symbols to begin with; an inline array is fine, and a changed one subscribes anew. */
  initialSymbols?: readonly string[] | undefined
  initialExchanges?: readonly string[] | undefined
  /** Default true. */
  autoConnect?: boolean | undefined
  /** The longest wait between two attempts in milliseconds; waits begin far shorter. Default 10000. */
  reconnectInterval?: number | undefined
  /** Default: no end. */
  maxReconnectAttempts?: number | undefined
  /** Browser notifications for alerts above 1 %, where the viewer has granted them. Default true. */
  notify?: boolean | undefined
}

export interface UseLiveExchangePricesResult {
  /** By `SYMBOL:exchange`, what is subscribed and has ever had a price. */
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

const nothing = () => {}

/** Live prices and alerts of the symbols on the exchanges. */
export function useLiveExchangePrices(_options: UseLiveExchangePricesOptions = {}): UseLiveExchangePricesResult {
  return {
    prices: {}, arbitrageAlerts: [], isConnected: false, error: null, subscribedSymbols: [], subscribedExchanges: [],
    subscribe: nothing, unsubscribe: nothing, getPrice: () => undefined, getPricesForSymbol: () => [],
    connect: nothing, disconnect: nothing, requestNotificationPermission,
  }
}
