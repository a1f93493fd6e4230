import type { Environment } from './environment.js'

/** Replaces the animation frame while the page is hidden, in milliseconds. */
const WITHOUT_FRAMES = 250
/** Replaces the animation frame on platforms without one, in milliseconds. */
const FRAME = 16

/**
 * Calls `deliver` once at the next animation frame, regardless of the number of requests. A request during a frame is
 * served by the following frame.
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
