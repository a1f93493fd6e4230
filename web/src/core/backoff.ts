// The delay before the next connection attempt. Jitter spreads the attempts of many pages.

/** Upper limit of the first delay, in milliseconds. */
const FIRST = 250
/** Default of the longest delay, in milliseconds. */
export const WAIT_MAX = 10_000
/** Clients of a gateway that stops reconnect within this time, in milliseconds. */
const SPREAD = 3000
/** Shortest delay after a close for slowness, in milliseconds. */
const REST = 1000

/** The gateway is stopping. */
export const GOING_AWAY = 1001
/** The gateway dropped alerts because this client did not read. */
export const TRY_AGAIN_LATER = 1013
/** A request of this client was invalid. The next attempt sends the same request. */
const MEND_THE_CLIENT = [1002, 1007, 1008, 1009]

/**
 * Milliseconds before attempt number `attempt` (from 0) after a close with `code`; `random` is in 0..1. The delay doubles
 * from 250 ms up to `longest`. Each attempt takes between half of it and all of it.
 */
export function backoff(attempt: number, code: number, random: number, longest = WAIT_MAX): number {
  if (code === GOING_AWAY && attempt === 0) return random * Math.min(SPREAD, longest)
  const step = MEND_THE_CLIENT.includes(code) ? longest : Math.min(longest, FIRST * 2 ** attempt)
  const wait = (step / 2) * (1 + random)
  return code === TRY_AGAIN_LATER ? Math.max(wait, REST * (1 + random)) : wait
}
