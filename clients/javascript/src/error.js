/**
 * The class of our errors, in a file of its own: there must be only one of it, whatever files the
 * package is built as.
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
