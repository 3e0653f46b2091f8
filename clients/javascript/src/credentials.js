/**
 * The token: asked for, refused, forgiven.
 * Hands it to the keeper and to calls. It must never hand out a token that the server refused, nor
 * none in the place of one: the request would be somebody else's.
 */

import { RowcastError } from './error.js'

/** @param {import('./settings.js').Settings} settings */
export function credentials({ token: source, connectTimeout, now }) {
  /** The token in use; null where a cookie does. @type {string | null | undefined} */
  let current
  /** @type {string | null | undefined} */
  let refused
  let reason = ''
  /** An answer that is waited for, for everybody who needs one, and since when. @type {any} */
  let asked
  let askedAt = 0
  /** How often it was begun anew: an answer to an earlier question may be another user's. */
  let epoch = 0

  async function question() {
    const token = await (typeof source === 'function' ? source() : source)
    // What ends in a newline, as files do, is no name of a subprotocol.
    return token?.trim() ?? null
  }

  /** @returns {Promise<string | null>} */
  async function ask() {
    const before = epoch
    // One that never answers is not waited for by all who come later. The clock may have been set back.
    if (!asked || Math.abs(now() - askedAt) >= connectTimeout) {
      askedAt = now()
      const mine = (asked = question().finally(() => {
        if (asked === mine) asked = undefined
      }))
    }
    const token = await asked.catch((/** @type {unknown} */ error) => {
      if (epoch === before) throw error
    })
    if (epoch !== before) return ask()
    if (source !== undefined && !token) throw new RowcastError('unauthorized', 'no token')
    if (token === refused) throw new RowcastError('unauthorized', reason)
    return (current = token)
  }

  return {
    /** A token that was not refused; `token()` is asked for it. */
    ask,
    /** The token in use, or one that is asked for. */
    use: async () => (current === undefined || current === refused ? ask() : current),
    /**
     * The server refused it.
     * @param {string | null} token
     * @param {string} why
     */
    refuse: (token, why) => {
      refused = token
      reason = why
    },
    /** The application knows better: what was refused may be tried once more. */
    forgive: () => {
      epoch += 1
      refused = current = asked = undefined
    },
  }
}
