import { useMemo } from 'react'
import type { ArbitrageAlert } from '../../core/types.js'
import { NONE, isSameList, useBoard, useHold, useStatus } from './live.js'
import type { HookOptions } from './options.js'

export interface ArbitrageMonitor {
  /** Of this symbol with at least this spread, newest first, at most 100. */
  alerts: readonly ArbitrageAlert[]
  /**
   * The largest spread of those that last: the latest alert of each buy and sell exchange that came in the last 90
   * seconds on the present connection. (The gateway repeats an alert each minute while it lasts.)
   */
  bestOpportunity: ArbitrageAlert | null
  alertCount: number
  isConnected: boolean
}

/** Alerts of one symbol over all exchanges of the gateway. The gateway's own threshold (0.5 %) comes first. */
export function useArbitrageMonitor(symbol: string, minSpreadPct = 0.5, options: HookOptions = {}): ArbitrageMonitor {
  const { url, ...feed } = options
  useHold(url, { symbols: [symbol], ...feed })
  const { isConnected } = useStatus(url)
  const enough = (alerts: readonly ArbitrageAlert[]) => alerts.filter(({ spreadPct }) => spreadPct >= minSpreadPct)
  const alerts = useBoard<readonly ArbitrageAlert[]>(url, (board) => enough(board.alerts(symbol)), NONE, isSameList)
  const lasting = useBoard<readonly ArbitrageAlert[]>(url, (board) => enough(board.lasting(symbol)), NONE, isSameList)
  return useMemo(() => {
    const bestOpportunity = lasting.reduce<ArbitrageAlert | null>(
      (best, alert) => (best && best.spreadPct >= alert.spreadPct ? best : alert),
      null,
    )
    return { alerts, bestOpportunity, alertCount: alerts.length, isConnected }
  }, [alerts, lasting, isConnected])
}
