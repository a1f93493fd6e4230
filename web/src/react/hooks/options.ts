import type { MinProof } from '../../core/messages.js'
import type { FeedOptions } from '../../core/types.js'

/** Options of every hook on `/ws/prices`. */
export interface HookOptions extends Omit<FeedOptions, 'minProof'> {
  /** The gateway: `wss://host/ws/prices`, `https://host` or a path. Default: the origin of the page. */
  url?: string | undefined
}

/** Options of hooks that return alerts or opportunities. */
export interface AlertOptions extends HookOptions {
  /**
   * Only those with this proof or a stronger one; each comes when it has the proof. Default `none`. Hooks that ask for another proof use
   * another connection.
   */
  minProof?: MinProof | undefined
}
