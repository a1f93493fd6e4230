// Browser notifications of alerts: where there are any, where the viewer allows them, once for each alert.

import { useEffect, useRef } from 'react'
import type { ArbitrageAlert } from '../../core/types.js'

/** Alerts above this spread in percent are worth a notification. */
const NOTIFY_ABOVE = 1

/**
 * Asks the viewer whether notifications may be shown, if that is still open. Resolves to whether they may; `false`
 * where the browser has none.
 */
export async function requestNotificationPermission(): Promise<boolean> {
  if (typeof Notification === 'undefined') return false
  if (Notification.permission !== 'default') return Notification.permission === 'granted'
  try {
    return (await Notification.requestPermission()) === 'granted'
  } catch {
    return false
  }
}

/** However many hooks hear an alert, it is shown once; and of what one jump of an exchange made the first that comes. */
const shown = new WeakSet<ArbitrageAlert>()
const shownGroups = new Set<string>()
const GROUPS_MAX = 1024

function isShown(alert: ArbitrageAlert): boolean {
  const { group } = alert
  if (shown.has(alert) || (group !== undefined && shownGroups.has(group))) return true
  shown.add(alert)
  if (group !== undefined) {
    if (shownGroups.size >= GROUPS_MAX) shownGroups.clear()
    shownGroups.add(group)
  }
  return false
}

/** Shows those of `alerts` that come while the component is mounted and `isOn`. */
export function useNotifications(alerts: readonly ArbitrageAlert[], isOn: boolean): void {
  const known = useRef(alerts)
  useEffect(() => {
    const before = new Set(known.current)
    known.current = alerts
    for (const alert of alerts) {
      if (!isOn || alert.spreadPct <= NOTIFY_ABOVE || before.has(alert) || isShown(alert)) continue
      show(alert)
    }
  }, [alerts, isOn])
}

function show({ symbol, spreadPct, buyExchange, sellExchange }: ArbitrageAlert): void {
  if (typeof Notification === 'undefined' || Notification.permission !== 'granted') return
  try {
    // The tag lets a later one of the symbol take the place of an earlier one.
    new Notification(`Arbitrage Alert: ${symbol}`, {
      body: `${spreadPct.toFixed(2)}% spread: buy on ${buyExchange}, sell on ${sellExchange}`,
      tag: `arbitrage-${symbol}`,
    })
  } catch {
    // Some browsers have the name and allow it to service workers only.
  }
}
