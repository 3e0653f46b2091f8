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
  const stop = new AbortController()
  const { signal } = stop
  here.addEventListener?.('online', () => fn(true), { signal })
  here.addEventListener?.('pageshow', () => fn(false), { signal })
  here.document?.addEventListener('visibilitychange', () => here.document.hidden || fn(false), { signal })
  return () => stop.abort()
}

/** Whether the machine says that it has no network. */
export const isOffline = () => globalThis.navigator?.onLine === false
