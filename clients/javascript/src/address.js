/**
 * Addresses below the server's base, and the headers that go with them.
 * Hands them to the transports. It must never put a token into an address: those end up in logs.
 */

/**
 * What a link opens with: where it stands, and which rooms it wants. `load` are rooms that are to
 * be joined besides, from the bookmark `from`, with all that came after it; `reader` is a durable name.
 * @typedef {{rooms?: string[], since?: string, load?: string[], from?: string, reader?: string}} Opening
 */

/**
 * @param {string} base
 * @param {string} path
 * @param {Opening} [opening]
 * @param {number} [wait] seconds
 */
export function address(base, path, { rooms, since, load, from, reader } = {}, wait) {
  const query = new URLSearchParams()
  // What parts rooms may be in their names, too.
  const list = (/** @type {string[] | undefined} */ names) => names?.map((name) => name.replace(/[\\,]/g, '\\$&'))
  for (const [key, value] of Object.entries({ rooms: list(rooms), since, load: list(load), from, reader, wait })) if (`${value ?? ''}`) query.set(key, /** @type {any} */ (value))
  return base.replace(/\/*$/, path) + (`${query}` && `?${query}`)
}

/**
 * @param {string | null} token null where a cookie says who it is
 * @param {AbortSignal} signal
 * @param {string} [body]
 * @returns {RequestInit}
 */
export const request = (token, signal, body) => ({
  method: body ? 'POST' : 'GET',
  body,
  signal,
  cache: 'no-store',
  credentials: token ? 'same-origin' : 'include',
  headers: {
    ...(body && { 'content-type': 'application/json' }),
    ...(token && { authorization: `Bearer ${token}` }),
  },
})
