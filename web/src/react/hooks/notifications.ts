// Browser notifications of alerts, one per alert, if the browser supports them and the viewer allows them.

import { useEffect, useRef } from 'react'
import type { ArbitrageAlert } from '../../core/types.js'

/** Alerts above this spread, in percent, are notified. */
const NOTIFY_ABOVE = 1

/**
 * Asks the viewer for permission to show notifications, unless it is decided. Resolves to whether they are allowed; `false` if the
 * browser does not support them.
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

/** Alerts that have been notified: each is shown once for all hooks, and only the first alert of an event is shown. */
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

/** Notifies new `alerts` while the component is mounted and `isOn`. */
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
    // The tag makes a later notification of the symbol replace an earlier one.
    new Notification(`Arbitrage Alert: ${symbol}`, {
      body: `${spreadPct.toFixed(2)}% spread: buy on ${buyExchange}, sell on ${sellExchange}`,
      tag: `arbitrage-${symbol}`,
    })
  } catch {
    // Some browsers define the name but allow it in service workers only.
  }
}
