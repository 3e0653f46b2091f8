/**
 * What goes wrong, by one word for each: the server's own, whether it comes as a close code, as a
 * status or in a frame. Hands errors to the application, and to the keeper as the end of a link.
 * It must never let anybody guess: what has no word is `disconnected`.
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
    this.code = code
    this.retryAfter = retryAfter
  }
}

/** What a WebSocket's close code stands for. @type {Record<number, string>} */
const CODES = {
  1008: 'unauthorized',
  1009: 'message-too-big',
  1012: 'restart',
  1013: 'overloaded',
  4001: 'token-expired',
  4002: 'revoked',
  4003: 'too-many-connections',
  4004: 'protocol-error',
}

/** After these only another token is tried. */
export const NEEDS_TOKEN = ['unauthorized', 'token-expired', 'revoked']
/** After these nothing is tried, unless the server said when. */
export const FINAL = ['message-too-big', 'too-many-connections', 'protocol-error', 'forbidden-origin']
/** Those that end a stream for a while. */
export const PASSING = ['overloaded', 'restart', 'lagged']

/**
 * @param {number} code of a close
 * @param {string} reason
 */
export const ofClose = (code, reason) => {
  const word = CODES[code] ?? 'disconnected'
  // A bare number is how long to wait, and no reason to read.
  const ms = PASSING.includes(word) ? Number(reason) || undefined : undefined
  return new RowcastError(word, ms ? word : reason || `closed with ${code}`, ms)
}
