// One rule of silence for everything that comes from a gateway, whatever way it comes: what is expected once per beat and
// is overdue by more than the grace is not current any more. A gateway that is frozen, or cut off without a close,
// sends no error; only time tells.

/** Milliseconds that an expected message may be overdue. */
export const GRACE = 3000

/** A WebSocket that is silent for this long is asked whether the gateway is there, so that its beat is never longer. */
export const ASK_AFTER = 2000

/** Beat of each pair of an event stream. */
export const STREAM_BEAT = 1000

/** Whether `quietMs` without a word is too long where one is expected every `beatMs`. */
export const isSilent = (quietMs: number, beatMs: number): boolean => quietMs > beatMs + GRACE
