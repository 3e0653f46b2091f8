/**
 * Addresses below the server's base, and the headers that go with them.
 * Hands them to the transports. It must never put a token into an address: those end up in logs.
 */

/**
 * What a link opens with: where it stands, and which rooms it wants. `load` are rooms that are to
 * be joined besides, from the bookmark `from`, with all that came after it.
 * @typedef {{rooms: string[], since?: string, load?: string[], from?: string}} Opening
 */

/**
 * @param {string} base
 * @param {string} path
 * @param {Opening} [opening]
 * @param {number} [wait] seconds
 */
export function address(base, path, opening, wait) {
  const url = base.replace(/\/+$/, '') + path
  if (!opening) return url
  const query = new URLSearchParams()
  if (opening.rooms.length) query.set('rooms', opening.rooms.join())
  if (opening.since) query.set('since', opening.since)
  if (opening.load && opening.from) {
    query.set('load', opening.load.join())
    query.set('from', opening.from)
  }
  if (wait !== undefined) query.set('wait', `${wait}`)
  return query.size ? `${url}?${query}` : url
}

/**
 * @param {string | undefined} token nothing where a cookie says who it is
 * @param {Record<string, string>} headers
 * @returns {RequestInit}
 */
export function credentialed(token, headers) {
  return {
    cache: 'no-store',
    credentials: token ? 'same-origin' : 'include',
    headers: token ? { ...headers, authorization: `Bearer ${token}` } : headers,
  }
}
