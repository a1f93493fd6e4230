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
