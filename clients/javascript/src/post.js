/**
 * One call by POST.
 * Hands the answer back. It must never ask twice, but where it was refused before anything was done.
 */

import { address, request } from './address.js'
import { ofAnswer } from './answer.js'
import { NEEDS_TOKEN, RowcastError } from './errors.js'

/**
 * @param {import('./settings.js').Settings} settings
 * @param {import('./keeper.js').Keeper['tokens']} tokens
 * @param {string} name
 * @param {string} body
 * @param {AbortSignal} signal
 * @param {boolean} [again] with another token
 * @returns {Promise<any>}
 */
export async function post(settings, tokens, name, body, signal, again) {
  const token = await (again ? tokens.ask() : tokens.use())
  const answer = await settings
    .fetch(address(settings.url, `/call/${encodeURIComponent(name)}`), request(token, signal, body))
    .catch((error) => {
      throw new RowcastError('disconnected', String(error))
    })
  if (answer.ok) return answer.json()
  const error = await ofAnswer(answer, settings.now())
  if (!NEEDS_TOKEN.includes(error.code)) throw error
  tokens.refuse(token)
  if (again) throw error
  return post(settings, tokens, name, body, signal, true)
}
