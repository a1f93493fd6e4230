import { useMemo } from 'react'
import type { Opportunity } from '../../core/types.js'
import { NONE, isSameList, useBoard, useHold, useStatus } from './live.js'
import type { AlertOptions } from './options.js'

export interface UseOpportunitiesOptions extends Omit<AlertOptions, 'opportunities'> {}

export interface Opportunities {
  /** Open opportunities, largest spread first. Empty while there is no connection, because the state is unknown. */
  open: readonly Opportunity[]
  /** Opportunities that closed while the page was connected, newest first, at most 100. */
  closed: readonly Opportunity[]
  isConnected: boolean
}

/** Open and recently closed opportunities of symbols. */
export function useOpportunities(symbols: readonly string[], options: UseOpportunitiesOptions = {}): Opportunities {
  const { url, minProof, ...feed } = options
  const place = { url, minProof }
  useHold(place, { symbols, ...feed, opportunities: true })
  const { isConnected } = useStatus(place)
  const own = (all: readonly Opportunity[]) => all.filter(({ symbol }) => symbols.includes(symbol))
  const open = useBoard<readonly Opportunity[]>(place, (board) => own(board.open), NONE, isSameList)
  const closed = useBoard<readonly Opportunity[]>(place, (board) => own(board.closed), NONE, isSameList)
  return useMemo(() => ({ open, closed, isConnected }), [open, closed, isConnected])
}
