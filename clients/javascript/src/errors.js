/**
 * What goes wrong, with a `code` to branch on.
 * Hands errors to the application, and verdicts on the end of a link to the keeper. It must never
 * let the same request go on where the server's word forbids it.
 */

/** An Error with a `code`: one of the server's, or `disconnected`, `timeout`, `closed`, `token`. */
export class RowcastError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {number} [retryAfter] milliseconds after which the server would be asked again
   */
  constructor(code, message, retryAfter) {
    super(message || code)
    this.name = 'RowcastError'
    this.code = code
    this.retryAfter = retryAfter
  }
}

/**
 * How a link ended, and so what comes next: `retry` with a growing pause, `wait` as long as the
 * server said, `token` with a new token only, `final` not by itself.
 * @typedef {{next: 'retry' | 'wait' | 'token' | 'final', reason: string, ms?: number}} Verdict
 */

/**
 * @param {number} code of a WebSocket's close
 * @param {string} reason
 * @returns {Verdict}
 */
export function ofClose(code, reason) {
  const said = reason || `closed with ${code}`
  if (code === 1008 || code === 4001 || code === 4002) return { next: 'token', reason: said }
  if (code === 1009 || code === 4003 || code === 4004) return { next: 'final', reason: said }
  if (code === 1012 || code === 1013) {
    const word = code === 1012 ? 'the server restarts' : 'the server is overloaded'
    return { next: 'wait', ms: Number(reason) || 0, reason: word }
  }
  return { next: 'retry', reason: reason || 'the connection was lost' }
}

/** What Rowcast says by the code of an error that ends a stream. */
const WORDS = /** @type {Record<string, Verdict['next']>} */ ({
  overloaded: 'wait',
  restart: 'wait',
  lagged: 'retry',
  'token-expired': 'token',
  revoked: 'token',
  unauthorized: 'token',
})

/**
 * @param {{code: string, message?: string}} error that a stream said last
 * @param {number} [ms] that it said to wait
 * @returns {Verdict | undefined} nothing if such an error ends no stream
 */
export function ofWord({ code, message }, ms) {
  const next = WORDS[code]
  return next && { next, ms, reason: message || code }
}

/**
 * What an answer other than the expected one means.
 * @param {Response} answer
 * @param {number} now
 * @returns {Promise<Verdict & {error: RowcastError}>}
 */
export async function ofAnswer(answer, now) {
  const said = await answer.json().then((body) => body?.error, () => undefined)
  const header = answer.headers.get('retry-after')
  const after = header && (Number(header) * 1000 || Date.parse(header) - now)
  const ms = said?.retryMs ?? (after && after > 0 ? after : undefined)
  const { status } = answer
  const code = said?.code ?? (status === 401 ? 'unauthorized' : 'unavailable')
  const reason = said?.message || `the server answered ${status}`
  const error = new RowcastError(code, reason, ms)
  if (status === 401) return { next: 'token', reason, error }
  if (ms !== undefined) return { next: 'wait', ms, reason, error }
  // Somebody else's refusal, as of a proxy that blocks this transport, is no word of Rowcast's.
  const final = said?.code && status < 500 && status !== 404
  return { next: final ? 'final' : 'retry', reason, error }
}
