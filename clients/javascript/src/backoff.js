/**
 * How long to wait before trying again: full jitter under a growing cap.
 * Hands milliseconds to whoever retries. It must never answer zero: a server that accepts and
 * closes at once would be hammered.
 */

/** Milliseconds that every wait lasts at least. */
export const FLOOR = 100

/**
 * @param {number} base milliseconds that the first wait lasts at most
 * @param {number} cap milliseconds that any wait lasts at most
 * @param {() => number} random 0 ≤ x < 1
 */
export function backoff(base, cap, random) {
  let tries = 0
  return {
    /** The next wait. */
    next: () => Math.max(FLOOR, random() * Math.min(cap, base * 2 ** tries++)),
    /** What was tried worked for long enough: begin small again. */
    reset() {
      tries = 0
    },
  }
}
