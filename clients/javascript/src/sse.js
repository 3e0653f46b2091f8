/**
 * One link over server-sent events, read by fetch so that the token travels in a header.
 * Hands frames as a WebSocket's, and the verdict of its end, to the keeper. It must never take a
 * block's id for an event's that has none.
 */

import { address, credentialed } from './address.js'
import { ofAnswer, ofWord } from './errors.js'
import { parser } from './parser.js'

/** @type {import('./keeper.js').Transport} */
export function sse({ settings, token, opening, frame, heard, end }) {
  const stop = new AbortController()
  /** @type {number | undefined} */
  let retry
  /** @type {import('./errors.js').Verdict | undefined} */
  let last

  /** @param {import('./parser.js').Block} block */
  function take({ event, data, id, retry: ms }) {
    retry = ms ?? retry
    if (data === undefined) {
      if (id) frame({ type: 'heartbeat', bookmark: id })
      return
    }
    const body = JSON.parse(data)
    if (event === 'rowcast:error') last = ofWord(body, retry)
    if (last || event.startsWith('rowcast:')) return last || frame(body)
    // The bookmark of an event ends in its id.
    frame({ type: 'event', id: id?.slice(id.lastIndexOf('.') + 1), name: event, data: body, bookmark: id })
  }

  async function read() {
    const answer = await settings.fetch(address(settings.url, '/sse', opening), {
      ...credentialed(token, { accept: 'text/event-stream' }),
      signal: stop.signal,
    })
    const type = answer.headers.get('content-type') ?? ''
    if (!answer.ok || !answer.body || !type.startsWith('text/event-stream')) {
      return ofAnswer(answer, settings.clock.now())
    }
    const reader = answer.body.getReader()
    const decoder = new TextDecoder()
    const feed = parser((block) => stop.signal.aborted || take(block))
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      heard()
      feed(decoder.decode(value, { stream: true }))
    }
  }

  read()
    .catch(() => undefined)
    .then((verdict) => {
      if (stop.signal.aborted) return
      end(verdict ?? last ?? { next: 'retry', ms: retry, reason: 'the stream was cut' })
    })
  return { send: () => false, close: () => stop.abort() }
}
