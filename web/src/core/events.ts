// Opportunities as events: one exchange whose price jumps makes an opportunity with each of the others, all of one group.

import type { Opportunity } from './types.js'

/** What one jump made. */
export interface OpportunityEvent {
  /** The group, or the id of an opportunity that has none. */
  id: string
  /** The one with the largest spread now, of closed ones with the largest peak. */
  best: Opportunity
  /** All of them that were given, the best first. */
  all: readonly Opportunity[]
}

const worth = (one: Opportunity) => (one.change === 'closed' ? one.peakSpreadPct : one.spreadPct)

/** `opportunities` by event, in the order in which the first of each comes. */
export function eventsOf(opportunities: readonly Opportunity[]): OpportunityEvent[] {
  const groups = new Map<string, Opportunity[]>()
  for (const one of opportunities) {
    const id = one.group ?? one.id
    const known = groups.get(id)
    if (known) known.push(one)
    else groups.set(id, [one])
  }
  return [...groups].map(([id, members]) => {
    const all = members.sort((a, b) => worth(b) - worth(a))
    return { id, best: all[0]!, all }
  })
}
