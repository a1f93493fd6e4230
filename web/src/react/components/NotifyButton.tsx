// A button that enables browser notifications.

import { useReducer, useSyncExternalStore } from 'react'
import { requestNotificationPermission } from '../hooks/notifications.js'

const never = () => () => {}
const permissionNow = () => (typeof Notification === 'undefined' ? 'none' : Notification.permission)

/** Offers notifications while the viewer has not decided. Shows when the browser blocks them, because it does not ask again. */
export function NotifyButton() {
  const permission = useSyncExternalStore(never, permissionNow, () => 'none')
  const [, decided] = useReducer((count: number) => count + 1, 0)
  if (permission === 'denied') return <p className="sw-quiet">Notifications are blocked in the browser's settings for this site.</p>
  if (permission !== 'default') return null
  return (
    <button type="button" className="sw-button" onClick={() => void requestNotificationPermission().then(decided)}>
      Notify me of large spreads
    </button>
  )
}
