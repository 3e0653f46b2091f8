/**
 * What goes wrong, by one word for each: the server's own, whether it comes as a close code, as a
 * status or in a frame. Hands errors to the application, and to the keeper as the end of a link.
 * It must never let anybody guess: what has no word is `disconnected`.
 */

import { RowcastError } from './error.js'

/**
 * @param {any} error ours by its name: a page that loads a module by two addresses has two of the class
 * @param {string} code what it is if it has no word of ours
 * @returns {RowcastError}
 */
export const asError = (error, code) => (error?.name === 'RowcastError' ? error : new RowcastError(code, String(error)))

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
/** What may be otherwise a little later for a question: too many connections are the page's own, while
 * it asks many at once. */
export const PASSES = ['disconnected', 'timeout', 'call-timeout', 'request-timeout', 'rate-limited', 'too-many-connections', 'overloaded', 'restart', 'unavailable', 'token']
/** Those that end a stream for a while. */
export const PASSING = ['overloaded', 'restart', 'lagged']

/**
 * @param {number} code of a close
 * @param {string} reason
 */
export const ofClose = (code, reason) => {
  // 1008 stands for several words: the reason begins with it.
  const [said] = reason.split(':')
  const word = FINAL.includes(said) ? said : (CODES[code] ?? 'disconnected')
  // A bare number is how long to wait, and no reason to read.
  const ms = +reason || undefined
  return new RowcastError(word, ms ? word : reason || `closed: ${code}`, ms)
}
