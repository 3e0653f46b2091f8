/**
 * The token: asked for, refused, forgiven.
 * Hands it to the keeper and to calls. It must never hand out a token that the server refused, nor
 * none in the place of one: the request would be somebody else's.
 */

import { RowcastError } from './error.js'

/** @param {import('./types.d.ts').TokenSource | undefined} source */
export function credentials(source) {
  /** The token in use; null where a cookie does. @type {string | null | undefined} */
  let current
  /** @type {string | null | undefined} */
  let refused

  async function ask() {
    const token = typeof source === 'function' ? await source() : (source ?? null)
    if (source !== undefined && !token) throw new RowcastError('unauthorized', 'no token')
    if (token === refused) throw new RowcastError('unauthorized', 'no other token')
    return (current = token)
  }

  return {
    /** A token that was not refused; `token()` is asked for it. */
    ask,
    /** The token in use, or one that is asked for. */
    use: async () => (current === undefined || current === refused ? ask() : current),
    /** The server refused it. @param {string | null} token */
    refuse: (token) => {
      refused = token
    },
    /** The application knows better: what was refused may be tried once more. */
    forgive: () => {
      refused = current = undefined
    },
  }
}
