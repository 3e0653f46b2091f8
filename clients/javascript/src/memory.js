/**
 * Which transport worked last, for the next page.
 * Hands its name to the keeper. It must never fail where storage is forbidden or full.
 */

/**
 * @param {import('./settings.js').Settings} settings
 * @param {string} [name] to be kept
 * @returns {string | null | undefined} the one kept
 */
export function remembered({ storage, url }, name) {
  try {
    // A page's alone: Node 25 warns of being asked for its own.
    const store = storage === undefined ? globalThis.document && globalThis.localStorage : storage
    const key = `rowcast:${url}`
    if (name) store?.setItem(key, name)
    return store?.getItem(key)
  } catch {
    return undefined
  }
}
