// One rule of silence for WebSocket, events and pages: a message that is expected once per beat and is overdue by more than
// the grace means that the data is no longer current. A gateway that is frozen or unreachable sends no error.

/** Milliseconds that an expected message may be overdue. */
export const GRACE = 3000

/** Milliseconds of silence after which a WebSocket client sends a request, so that the expected beat is never longer. */
export const ASK_AFTER = 2000

/** Milliseconds between two prices of each pair of an event stream. */
export const STREAM_BEAT = 1000

/** Whether `quietMs` without a message is too long if one is expected every `beatMs`. */
export const isSilent = (quietMs: number, beatMs: number): boolean => quietMs > beatMs + GRACE
