/**
 * Which transport worked last, for the next page.
 * Hands its name to the keeper. It must never fail where storage is forbidden or full.
 */

/**
 * @param {import('./types.d.ts').Storage | null | undefined} storage null remembers nothing
 * @param {string} url
 */
export function memory(storage, url) {
  const key = `rowcast:${url}`
  const guarded = (/** @type {(store: any) => any} */ act) => {
    try {
      return act(storage === undefined ? globalThis.localStorage : storage)
    } catch {
      return undefined
    }
  }
  return {
    /** @returns {string | undefined} */
    recall: () => guarded((store) => store?.getItem(key)),
    /** @param {string} name */
    keep: (name) => guarded((store) => store?.setItem(key, name)),
  }
}
