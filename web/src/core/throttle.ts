import type { Environment } from './environment.js'

/**
 * Calls `call` at once, then at most once per `ms` milliseconds. Requests in between are served together at the end of that
 * time. With 0 every request is served. `cancel` discards a pending one.
 */
export function throttle(
  { now, setTimeout, clearTimeout }: Environment,
  call: () => void,
  ms: number,
): { request(): void; cancel(): void } {
  let calledAt = -Infinity
  let timer: unknown
  const run = () => {
    timer = undefined
    calledAt = now()
    call()
  }
  return {
    request() {
      if (timer !== undefined) return
      const wait = calledAt + ms - now()
      if (wait > 0) timer = setTimeout(run, wait)
      else run()
    },
    cancel() {
      clearTimeout(timer)
      timer = undefined
    },
  }
}
