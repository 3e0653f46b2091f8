/**
 * Names to handlers.
 * Hands data over to the application's functions. It must never let one that throws stop the
 * others, or the stream.
 */

/** @typedef {(...said: any[]) => void} Handler */

export function emitter() {
  /** @type {Map<string, Set<{fn: Handler}>>} */
  const handlers = new Map()

  /**
   * Calls a function of the application's.
   * @param {Handler} fn
   * @param {any[]} said
   */
  function guarded(fn, ...said) {
    try {
      fn(...said)
    } catch (error) {
      failed(error)
    }
  }

  /** @param {unknown} error */
  function failed(error) {
    const ears = handlers.get('error')
    if (!ears?.size) return console.error('rowcast:', error)
    for (const { fn } of [...ears]) {
      try {
        fn(error)
      } catch (again) {
        console.error('rowcast:', again)
      }
    }
  }

  return {
    guarded,
    /** Tells the handlers of `error`, or the console if there is none. */
    failed,
    /**
     * @param {string} name
     * @param {Handler} fn
     * @returns {() => void} takes it away
     */
    on(name, fn) {
      const ears = handlers.get(name) ?? new Set()
      handlers.set(name, ears)
      // One entry for each call: the same function may be there twice.
      const ear = { fn }
      ears.add(ear)
      return () => {
        ears.delete(ear)
        if (!ears.size && handlers.get(name) === ears) handlers.delete(name)
      }
    },
    /**
     * @param {string} name
     * @param {any[]} said
     */
    emit(name, ...said) {
      for (const { fn } of [...(handlers.get(name) ?? [])]) guarded(fn, ...said)
    },
  }
}
