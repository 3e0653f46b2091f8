/**
 * The ids of events that were delivered, so that none is delivered twice.
 * Hands nobody anything but yes or no. It must never grow without bound, nor outlive the database's
 * history: behind its end the same ids may be given out anew.
 */

/** @param {number} most ids that are remembered */
export function seen(most) {
  /** @type {Set<string>} */
  const ids = new Set()
  return {
    /**
     * Remembers an id; false if it was known.
     * @param {string} id
     */
    add(id) {
      // What repeats is remembered anew: whoever repeats it may do so again.
      const fresh = !ids.delete(id)
      ids.add(id)
      if (ids.size > most) ids.delete(/** @type {string} */ (ids.values().next().value))
      return fresh
    },
    clear: () => ids.clear(),
  }
}
