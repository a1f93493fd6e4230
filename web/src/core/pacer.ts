import type { Environment } from './environment.js'

/** Frames do not come while a page is hidden; then this many milliseconds do. */
const WITHOUT_FRAMES = 250
/** Where there are no frames at all. */
const FRAME = 16

/**
 * Calls `deliver` once at the next animation frame, however often it is asked in between. The first request after
 * quiet is served by the next frame, and what comes during that frame by the one after: nothing is lost.
 */
export class Pacer {
  #environment: Environment
  #deliver: () => void
  #cancel: (() => void) | undefined

  constructor(environment: Environment, deliver: () => void) {
    this.#environment = environment
    this.#deliver = deliver
  }

  request(): void {
    if (this.#cancel) return
    const { setTimeout, clearTimeout, requestAnimationFrame, cancelAnimationFrame } = this.#environment
    const run = () => {
      this.cancel()
      this.#deliver()
    }
    const frame = requestAnimationFrame?.(run)
    const timer = setTimeout(run, requestAnimationFrame ? WITHOUT_FRAMES : FRAME)
    this.#cancel = () => {
      clearTimeout(timer)
      cancelAnimationFrame?.(frame)
    }
  }

  cancel(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }
}
