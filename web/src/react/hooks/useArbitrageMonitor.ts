import { useMemo } from 'react'
import type { ArbitrageAlert } from '../../core/types.js'
import { NONE, isSameList, useBoard, useHold, useStatus } from './live.js'
import type { AlertOptions } from './options.js'

export interface ArbitrageMonitor {
  /** Alerts of the symbol with at least this spread, newest first, at most 100. */
  alerts: readonly ArbitrageAlert[]
  /**
   * The largest spread among the current alerts: the latest alert of each buy and sell exchange in the last 90 seconds of the
   * current connection. (The gateway repeats the alert of an open opportunity each minute.)
   */
  bestOpportunity: ArbitrageAlert | null
  alertCount: number
  isConnected: boolean
}

/** Alerts of one symbol over all exchanges of the gateway. The gateway applies its own threshold first, 0.5 % by default. */
export function useArbitrageMonitor(symbol: string, minSpreadPct = 0.5, options: AlertOptions = {}): ArbitrageMonitor {
  const { url, minProof, ...feed } = options
  const place = { url, minProof }
  useHold(place, { symbols: [symbol], ...feed })
  const { isConnected } = useStatus(place)
  const enough = (alerts: readonly ArbitrageAlert[]) => alerts.filter(({ spreadPct }) => spreadPct >= minSpreadPct)
  const alerts = useBoard<readonly ArbitrageAlert[]>(place, (board) => enough(board.alerts(symbol)), NONE, isSameList)
  const lasting = useBoard<readonly ArbitrageAlert[]>(place, (board) => enough(board.lasting(symbol)), NONE, isSameList)
  return useMemo(() => {
    const bestOpportunity = lasting.reduce<ArbitrageAlert | null>(
      (best, alert) => (best && best.spreadPct >= alert.spreadPct ? best : alert),
      null,
    )
    return { alerts, bestOpportunity, alertCount: alerts.length, isConnected }
  }, [alerts, lasting, isConnected])
}
