// Groups opportunities into events: a jump of one exchange's price opens an opportunity with each other exchange, all in one group.

import type { Opportunity } from './types.js'

/** The opportunities of one jump. */
export interface OpportunityEvent {
  /** The group, or the id of an opportunity without a group. */
  id: string
  /** The opportunity with the largest current spread; if all are closed, with the largest peak. */
  best: Opportunity
  /** All opportunities of the event, best first. */
  all: readonly Opportunity[]
}

const worth = (one: Opportunity) => (one.change === 'closed' ? one.peakSpreadPct : one.spreadPct)

/** `opportunities` by event, in the order of the first of each event. */
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
