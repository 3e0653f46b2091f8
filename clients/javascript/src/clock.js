/**
 * Time as the client sees it: now, later, by chance; all of it can be replaced in tests.
 * Hands cancel functions to callers. It must never wait longer than setTimeout can: beyond 24.8
 * days a browser would fire at once.
 */

/** The longest that setTimeout takes, in milliseconds. */
const LONGEST = 2 ** 31 - 1

/** @param {import('./types.d.ts').Timers} [timers] */
export function clock(timers = {}) {
  const now = timers.now ?? (() => Date.now())
  const start = timers.setTimeout ?? ((/** @type {() => void} */ fn, /** @type {number} */ ms) => setTimeout(fn, ms))
  const stop = timers.clearTimeout ?? ((/** @type {any} */ timer) => clearTimeout(timer))
  return {
    now,
    random: timers.random ?? Math.random,
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
        const slice = Math.min(left, LONGEST)
        timer = start(() => (left > slice ? wait(left - slice) : fn()), slice)
      }
      wait(Math.max(0, ms))
      return () => stop(timer)
    },
  }
}

/** @typedef {ReturnType<typeof clock>} Clock */
