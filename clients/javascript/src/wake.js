/**
 * The moments at which waiting makes no sense any more: the network is back, or gone, the page is seen.
 * Hands over to whoever waits. It must never be needed: workers and Node have no such moments.
 */

/**
 * @param {(networkChanged: boolean) => void} fn
 * @returns {() => void} stops it
 */
export function onWake(fn) {
  const here = /** @type {any} */ (globalThis)
  const stop = new AbortController()
  const { signal } = stop
  for (const name of ['online', 'offline', 'pageshow', 'visibilitychange']) {
    // The last of these is told when the page is hidden, too.
    here.addEventListener?.(name, () => (name[0] === 'v' && here.document.hidden) || fn(name === 'online'), { signal })
  }
  return () => stop.abort()
}

/** Whether the machine says that it has no network. */
export const isOffline = () => globalThis.navigator?.onLine === false
