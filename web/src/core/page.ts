// A JSON page of the gateway, polled while it has listeners. All listeners share the requests.

import { environment, type Environment } from './environment.js'
import { Pacer } from './pacer.js'
import { GRACE, isSilent } from './silence.js'

/** The latest response, as an immutable value. */
export interface PageView {
  /** Parsed JSON; retained when later requests fail. */
  value: unknown
  /** HTTP status of the latest response, including errors; 0: no response yet, or none to the last request. */
  status: number
  error: string | null
  /** When `value` arrived, in Unix milliseconds of this machine; 0: not yet. */
  updatedAt: number
  /** The last request failed, or its response is overdue: `value` is the last known one. */
  isStale: boolean
}

export const NO_PAGE: PageView = { value: undefined, status: 0, error: null, updatedAt: 0, isStale: false }

/** Timeout of a request, in milliseconds. */
const ANSWER_WITHIN = 8000

/** See the head of this file. */
export class PolledPage {
  #url: string
  #ended: () => void
  #environment: Environment
  #pacer: Pacer
  #listeners = new Map<() => void, number>()
  #view = NO_PAGE
  #timer: unknown
  #overdue: unknown
  /** When the latest response arrived, or polling began. */
  #heardAt = 0
  #isAsking = false
  #askedAt = -Infinity

  constructor(url: string, own: Partial<Environment> = {}, ended = () => {}) {
    this.#url = url
    this.#ended = ended
    this.#environment = environment(own)
    this.#pacer = new Pacer(this.#environment, () => [...this.#listeners.keys()].forEach((listener) => listener()))
  }

  get view(): PageView {
    return this.#view
  }

  /** Calls `listener` in the frame after each response. The shortest interval of all listeners counts. */
  subscribe(listener: () => void, everyMs: number): () => void {
    const own = () => listener()
    if (this.#listeners.size === 0) this.#heardAt = this.#environment.now()
    this.#listeners.set(own, everyMs)
    this.#askLater()
    this.#lookLater()
    return () => {
      if (!this.#listeners.delete(own) || this.#listeners.size > 0) return
      this.#environment.clearTimeout(this.#timer)
      this.#environment.clearTimeout(this.#overdue)
      this.#pacer.cancel()
      this.#ended()
    }
  }

  /** Notifies listeners when the next response is overdue. */
  #lookLater(): void {
    const { now, setTimeout, clearTimeout } = this.#environment
    clearTimeout(this.#overdue)
    if (this.#view.isStale || this.#listeners.size === 0) return
    const beat = Math.min(...this.#listeners.values())
    const quiet = now() - this.#heardAt
    if (!isSilent(quiet, beat)) {
      this.#overdue = setTimeout(() => this.#lookLater(), beat + GRACE - quiet + 1)
      return
    }
    this.#view = { ...this.#view, isStale: true }
    this.#pacer.request()
  }

  #askLater(): void {
    const { now, setTimeout, clearTimeout } = this.#environment
    clearTimeout(this.#timer)
    if (this.#isAsking || this.#listeners.size === 0) return
    const wait = this.#askedAt + Math.min(...this.#listeners.values()) - now()
    this.#timer = setTimeout(() => void this.#ask(), Math.max(0, wait))
  }

  async #ask(): Promise<void> {
    const { now, unixNow, setTimeout, clearTimeout, fetch } = this.#environment
    this.#isAsking = true
    this.#askedAt = now()
    let late: unknown
    let next: PageView
    let status = 0
    try {
      const tooLate = new Promise<never>((_, reject) => {
        late = setTimeout(() => reject(new Error('The gateway does not answer')), ANSWER_WITHIN)
      })
      const answer = async () => {
        const reply = await fetch(this.#url, { cache: 'no-store' })
        status = reply.status
        return reply.json()
      }
      const value = await Promise.race([answer(), tooLate])
      next = { value, status, error: null, updatedAt: unixNow(), isStale: false }
      this.#heardAt = now()
    } catch (error) {
      next = { ...this.#view, status, error: error instanceof Error ? error.message : String(error), isStale: true }
    }
    clearTimeout(late)
    this.#isAsking = false
    this.#view = next
    this.#pacer.request()
    this.#askLater()
    this.#lookLater()
  }
}

const all = new Map<string, PolledPage>()

/** The shared poller of `url` (from `pageUrl`). */
export function sharedPage(url: string): PolledPage {
  let page = all.get(url)
  if (!page) all.set(url, (page = new PolledPage(url, {}, () => all.delete(url))))
  return page
}

/** The current view of the shared poller of `url`; sends no request. */
export function pageView(url: string): PageView {
  return all.get(url)?.view ?? NO_PAGE
}
