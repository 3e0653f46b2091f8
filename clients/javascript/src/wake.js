/**
 * The moments at which waiting makes no sense any more: the network is back, the page is seen.
 * Hands over to whoever waits. It must never be needed: workers and Node have no such moments.
 */

/**
 * @param {(networkChanged: boolean) => void} fn
 * @returns {() => void} stops it
 */
export function onWake(fn) {
  const here = /** @type {any} */ (globalThis)
  /** @type {[any, string, () => void][]} */
  const ears = [
    [here, 'online', () => fn(true)],
    [here, 'pageshow', () => fn(false)],
    [here.document, 'visibilitychange', () => here.document.visibilityState === 'visible' && fn(false)],
  ]
  for (const [target, name, ear] of ears) target?.addEventListener?.(name, ear)
  return () => {
    for (const [target, name, ear] of ears) target?.removeEventListener?.(name, ear)
  }
}

/** Whether the machine says that it has no network. */
export const isOffline = () => globalThis.navigator?.onLine === false
