/**
 * What an answer by HTTP other than the expected one means.
 * Hands it over as an error. It must never call final what is somebody else's refusal, such as a
 * proxy's.
 */

import { RowcastError } from './error.js'
import { NEEDS_TOKEN } from './errors.js'

/**
 * @param {Response} answer
 * @param {number} now
 */
export async function ofAnswer(answer, now) {
  const { status } = answer
  const said = await answer.json().then((body) => body.error, () => undefined)
  const header = answer.headers.get('retry-after')
  const ms = said?.retryMs ?? (header ? Number(header) * 1000 || Date.parse(header) - now : 0)
  const word = said?.code ?? (status === 401 ? NEEDS_TOKEN[0] : 'unavailable')
  return new RowcastError(word, said?.message ?? `the server answered ${status}`, ms > 0 ? ms : undefined)
}
