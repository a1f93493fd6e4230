import type { ArbitrageAlert } from '../../core/types.js'
import type { HookOptions } from './options.js'

export interface ArbitrageMonitor {
  /** Of this symbol with at least this spread, newest first, at most 100. */
  alerts: readonly ArbitrageAlert[]
  /** The largest spread among the latest alert of each route of the last 90 seconds. */
  bestOpportunity: ArbitrageAlert | null
  alertCount: number
  isConnected: boolean
}

/** Alerts of one symbol over all exchanges of the gateway. */
export function useArbitrageMonitor(_symbol: string, _minSpreadPct = 0.5, _options: HookOptions = {}): ArbitrageMonitor {
  return { alerts: [], bestOpportunity: null, alertCount: 0, isConnected: false }
}
