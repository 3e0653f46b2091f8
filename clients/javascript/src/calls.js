/**
 * Questions to functions in the database, and acknowledgements: in a frame where the link speaks, else by POST.
 * Hands the answer to who asked. It must never ask twice: whether a function only reads is not
 * known here.
 */

import { RowcastError } from './error.js'
import { asError } from './errors.js'
import { overHttp } from './keeper.js'

/** Characters of a frame; more goes by POST, for a frame that is too big ends the link for good. */
const FRAME = 16_000

/**
 * @param {import('./settings.js').Settings} settings
 * @param {() => import('./keeper.js').Keeper} keeper
 */
export function asking(settings, keeper) {
  /** Each with its way by POST.
   * @type {Map<string, {done: (error?: RowcastError, answer?: any) => void, byPost: () => void}>} */
  const pending = new Map()
  let last = 0

  return {
    /**
     * @param {object} frame as it is said where the link speaks
     * @param {string} path where it is posted otherwise
     * @param {object} said
     * @param {number} [timeout]
     * @returns {Promise<import('./types.d.ts').Answer>}
     */
    say: (frame, path, said, timeout = settings.callTimeout) =>
      new Promise((resolve, reject) => {
        const body = JSON.stringify(said)
        const id = `c${++last}`
        const stop = new AbortController()
        const done = (/** @type {any} */ error, /** @type {any} */ answer = undefined) => {
          cancel()
          pending.delete(id)
          if (error) reject(error)
          else resolve({ data: answer.data, bookmark: answer.bookmark })
        }
        const cancel = settings.later(timeout, () => {
          done(new RowcastError('timeout', path))
          stop.abort()
        })
        const byPost = () => {
          pending.delete(id)
          overHttp()
            .then(({ post }) => post(settings, keeper().tokens, path, body, stop.signal))
            // An error without a word is that of a file that could not be loaded.
            .then((answer) => done(undefined, answer), (error) => done(asError(error, 'disconnected')))
        }
        if (body.length < FRAME && keeper().speaks() && keeper().send({ ...frame, id })) pending.set(id, { done, byPost })
        else byPost()
      }),

    /**
     * An answer, or an error; false if it belongs to no call.
     * @param {import('./keeper.js').Frame} frame
     */
    answered(frame) {
      const call = pending.get(frame.id)
      // More at once than a link may have; nothing was done, and by POST they wait their turn.
      if (frame.code === 'rate-limited') call?.byPost()
      else call?.done(frame.type === 'error' ? new RowcastError(frame.code, frame.message, frame.retryMs) : undefined, frame)
      // One that has timed out is nobody's any more.
      return /^c/.test(frame.id)
    },

    /** The link is gone, and nobody knows whether these were done. */
    lost() {
      for (const { done } of pending.values()) done(new RowcastError('disconnected'))
    },
  }
}
