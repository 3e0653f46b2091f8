/**
 * The token: asked for, refused, renewed.
 * Hands it to the keeper and to calls. It must never hand out a token that the server refused.
 */

import { RowcastError } from './errors.js'

/**
 * @param {import('./types.d.ts').TokenSource | undefined} source nothing where cookies do
 * @param {import('./clock.js').Clock} clock
 * @param {number} patience milliseconds that `token()` may take
 */
export function credentials(source, clock, patience) {
  /** @type {string | undefined} */
  let current
  /** @type {string | undefined} */
  let refused
  let refusedCookie = false

  async function ask() {
    if (source === undefined) {
      if (refusedCookie) throw new RowcastError('unauthorized', 'the session was refused')
      return undefined
    }
    /** @type {() => void} */
    let cancel = () => {}
    const late = new Promise((_, reject) => {
      cancel = clock.later(patience, () => reject(new RowcastError('token', 'token() gave no answer')))
    })
    try {
      const token = await Promise.race([typeof source === 'function' ? source() : source, late])
      // Without a token the request would be somebody else's, perhaps an anonymous one.
      if (typeof token !== 'string' || !token) throw new RowcastError('unauthorized', 'token() gave no token')
      if (token === refused) throw new RowcastError('unauthorized', 'the token was refused, and there is no other')
      return (current = token)
    } finally {
      cancel()
    }
  }

  return {
    /** A token that was not refused; `token()` is asked for it. */
    ask,
    /** The token in use, or one that is asked for. */
    use: () => (current && current !== refused ? Promise.resolve(current) : ask()),
    /**
     * The server refused it.
     * @param {string | undefined} token
     */
    refuse(token) {
      if (token === undefined) refusedCookie = true
      else refused = token
    },
    /** The application knows better: what was refused may be tried once more. */
    forgive() {
      refused = current = undefined
      refusedCookie = false
    },
    /** Whether another token can come by itself. */
    canChange: typeof source === 'function',
  }
}
