/**
 * Names to handlers.
 * Hands data over to the application's functions. It must never let one that throws stop the
 * others, or the stream.
 */

/** @param {(error: unknown) => void} [failed] what a handler has thrown; without it, `error` hears of it */
export function emitter(failed) {
  /** One entry for each `on`: the same function may be there twice.
   * @type {Set<{name: string, fn: (...said: any[]) => void}>} */
  const ears = new Set()
  /** The last status: whoever has heard of it is not told an older one, which a handler has changed.
   * @type {any} */
  let last

  /**
   * @param {string} name
   * @param {any[]} said
   */
  function emit(name, ...said) {
    let heard = false
    const isStatus = name === 'status'
    if (isStatus) last = said
    for (const ear of [...ears]) {
      if (ear.name !== name || !ears.has(ear) || (isStatus && last !== said)) continue
      heard = true
      try {
        ear.fn(...said)
      } catch (error) {
        if (failed) failed(error)
        else if (name === 'error') console.error(error)
        else emit('error', error)
      }
    }
    // What nobody listens to must not go unseen.
    if (!heard && name === 'error') console.error(...said)
  }

  return {
    emit,
    /**
     * @param {string} name
     * @param {(...said: any[]) => void} fn
     * @returns {() => void} takes it away
     */
    on(name, fn) {
      const ear = { name, fn }
      ears.add(ear)
      return () => void ears.delete(ear)
    },
  }
}
