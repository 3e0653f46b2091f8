/**
 * One question by POST.
 * Hands the answer back. It must never ask twice, but where it was refused before anything was done.
 */

import { address, request } from './address.js'
import { ofAnswer } from './answer.js'
import { asError, NEEDS_TOKEN } from './errors.js'

/**
 * @param {import('./settings.js').Settings} settings
 * @param {import('./keeper.js').Keeper['tokens']} tokens
 * @param {string} path
 * @param {string} body
 * @param {AbortSignal} signal
 * @param {boolean} [again] with another token
 * @returns {Promise<any>}
 */
export async function post(settings, tokens, path, body, signal, again) {
  const token = await (again ? tokens.ask() : tokens.use()).catch((/** @type {unknown} */ error) => {
    throw asError(error, 'token')
  })
  const answer = await settings
    .fetch(address(settings.url, path), request(token, signal, body))
    .catch((error) => {
      throw asError(error, 'disconnected')
    })
  if (answer.ok) {
    // A link that is cut in the middle of it passes; what is no JSON does not.
    const text = await answer.text().catch((/** @type {unknown} */ error) => {
      throw asError(error, 'disconnected')
    })
    try {
      const { data, bookmark } = JSON.parse(text)
      return { data, bookmark }
    } catch (error) {
      // Browsers take a head that was cut for a whole one, which does not say how long the answer was.
      throw asError(error, /^({|$)/.test(text) ? 'disconnected' : 'bad-answer')
    }
  }
  const error = await ofAnswer(answer, settings.now())
  // A cookie is not ours to replace, nor to give up for the stream.
  if (!token || !NEEDS_TOKEN.includes(error.code)) throw error
  tokens.refuse(token, error.message)
  if (again) throw error
  return post(settings, tokens, path, body, signal, true)
}
