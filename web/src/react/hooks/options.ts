import type { FeedOptions } from '../../core/types.js'

/** Options of every hook on `/ws/prices`. */
export interface HookOptions extends FeedOptions {
  /** The gateway: `wss://host/ws/prices`, `https://host` or a path. Default: the origin of the page. */
  url?: string | undefined
}
