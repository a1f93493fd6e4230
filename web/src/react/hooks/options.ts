import type { FeedOptions } from '../../core/types.js'

/** What every hook on `/ws/prices` takes besides its names. */
export interface HookOptions extends FeedOptions {
  /** The gateway: `wss://host/ws/prices`, `https://host` or a path. Default: where the page comes from. */
  url?: string | undefined
}
