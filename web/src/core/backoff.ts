// How long to wait before the next attempt. Jitter keeps a thousand pages from coming back in one instant.

/** The first wait in milliseconds at the most. */
const FIRST = 250
/** The longest wait unless somebody asks for another. */
export const WAIT_MAX = 10_000
/** A gateway that stops asks everyone to spread over this time. */
const SPREAD = 3000
/** Who was too slow gives the gateway at least this much rest. */
const REST = 1000

/** The gateway stops; it listens again soon. */
export const GOING_AWAY = 1001
/** The gateway lost alerts because this client did not read. */
export const TRY_AGAIN_LATER = 1013
/** What this client said was wrong, and will be again. */
const MEND_THE_CLIENT = [1002, 1007, 1008, 1009]

/**
 * Milliseconds to wait before attempt number `attempt` (from 0) after a close with `code`; `random` is in 0..1. Waits
 * double from a quarter of a second up to `longest`, each between half of it and all of it.
 */
export function backoff(attempt: number, code: number, random: number, longest = WAIT_MAX): number {
  if (code === GOING_AWAY && attempt === 0) return random * Math.min(SPREAD, longest)
  const step = MEND_THE_CLIENT.includes(code) ? longest : Math.min(longest, FIRST * 2 ** attempt)
  const wait = (step / 2) * (1 + random)
  return code === TRY_AGAIN_LATER ? Math.max(wait, REST * (1 + random)) : wait
}
