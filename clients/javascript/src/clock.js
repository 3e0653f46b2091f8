/**
 * Time as the client sees it: now, later, by chance; all of it can be replaced in tests.
 * Hands cancel functions to callers. It must never wait longer than setTimeout can: beyond 24.8
 * days a browser would fire at once.
 */

/** The longest that setTimeout takes, in milliseconds. */
const LONGEST = 2 ** 31 - 1

/** @param {import('./types.d.ts').Timers} [timers] */
export const clock = (timers) => ({
  now: () => Date.now(),
  random: Math.random,
  ...timers,
  /**
   * Calls `fn` after `ms` milliseconds, unless the function returned is called before.
   * @param {number} ms
   * @param {() => void} fn
   * @returns {() => void}
   */
  later(ms, fn) {
    /** @type {any} */
    let timer
    const wait = (/** @type {number} */ left) => {
      timer = setTimeout(() => (left > LONGEST ? wait(left - LONGEST) : fn()), Math.min(left, LONGEST))
    }
    wait(Math.max(0, ms))
    return () => clearTimeout(timer)
  },
})

/** @typedef {ReturnType<typeof clock>} Clock */
