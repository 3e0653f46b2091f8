/**
 * One link over server-sent events, read by fetch so that the token travels in a header.
 * Hands frames as a WebSocket's, and the reason of its end, to the keeper. It must never take a
 * block's id for an event's that has none.
 */

import { address, request } from './address.js'
import { ofAnswer } from './answer.js'
import { RowcastError } from './error.js'
import { NEEDS_TOKEN, PASSING } from './errors.js'
import { parser } from './parser.js'

/** @type {import('./keeper.js').Transport} */
export function sse({ settings, token, opening, frame, heard, end }) {
  const stop = new AbortController()
  /** @type {number | undefined} */
  let wait
  /** What the stream said last before its end. @type {RowcastError | undefined} */
  let last

  /** @param {import('./parser.js').Block} block */
  function take({ event, data, id, retry }) {
    wait = retry ?? wait
    if (data === undefined) return id && frame({ type: 'heartbeat', bookmark: id })
    const body = JSON.parse(data)
    if (!event.startsWith('rowcast:')) {
      // The bookmark of an event ends in its id.
      frame({ type: 'event', id: id?.replace(/.*\./, ''), name: event, data: body, bookmark: id })
    } else if (body.type === 'error' && [...PASSING, ...NEEDS_TOKEN].includes(body.code)) {
      last = new RowcastError(body.code, body.message, wait)
    } else frame(body)
  }

  async function read() {
    const answer = await settings.fetch(address(settings.url, '/sse', opening), request(token, stop.signal))
    if (!answer.ok || !answer.headers.get('content-type')?.startsWith('text/event-stream')) {
      throw await ofAnswer(answer, settings.now())
    }
    const reader = answer.body.getReader()
    const decoder = new TextDecoder()
    const feed = parser((block) => stop.signal.aborted || take(block))
    for (;;) {
      const { done, value } = await reader.read()
      if (done) throw last
      heard()
      feed(decoder.decode(value, { stream: true }))
    }
  }

  read().catch((error) => {
    if (stop.signal.aborted) return
    end(error?.code ? error : new RowcastError('disconnected', 'the stream was cut', wait))
  })
  return { send: () => false, close: () => stop.abort() }
}
