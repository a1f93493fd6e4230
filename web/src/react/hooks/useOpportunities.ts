import type { Opportunity } from '../../core/types.js'
import type { HookOptions } from './options.js'

export interface UseOpportunitiesOptions extends Omit<HookOptions, 'opportunities'> {}

export interface Opportunities {
  /** Open now, largest spread first. */
  open: readonly Opportunity[]
  /** Closed while this page looked on, newest first, at most 100. */
  closed: readonly Opportunity[]
  isConnected: boolean
}

/** The opportunities of symbols from `opened` to `closed`. */
export function useOpportunities(_symbols: readonly string[], _options: UseOpportunitiesOptions = {}): Opportunities {
  return { open: [], closed: [], isConnected: false }
}
