/**
 * One link over long poll: the same question again and again, each from the bookmark of the last.
 * Hands frames as a WebSocket's, and the verdict of its end, to the keeper. It must never ask
 * again at once when it was answered nothing at once.
 */

import { address, credentialed } from './address.js'
import { ofAnswer } from './errors.js'

/** Milliseconds between two questions at least, if the first was answered with nothing. */
const PAUSE = 1000

/** @type {import('./keeper.js').Transport} */
export function poll({ settings, token, opening, frame, end }) {
  const { clock } = settings
  let stop = new AbortController()
  let over = false

  /**
   * @param {import('./address.js').Opening} place
   * @param {number} wait seconds
   */
  async function ask(place, wait) {
    stop = new AbortController()
    // A server that is gone answers nothing: no poll lasts longer than it asked for.
    const cancel = clock.later(wait * 1000 + settings.connectTimeout, () => stop.abort())
    try {
      const answer = await settings.fetch(address(settings.url, '/poll', place, wait), {
        ...credentialed(token, {}),
        signal: stop.signal,
      })
      if (!answer.ok) throw await ofAnswer(answer, clock.now())
      return await answer.json()
    } finally {
      cancel()
    }
  }

  async function run() {
    const { rooms } = opening
    let place = opening
    for (let first = true; !over; first = false) {
      const asked = clock.now()
      // The first answer comes at once, so that a proxy in the way is noticed.
      const got = await ask(place, first ? 0 : settings.pollWait)
      if (over) return
      const { bookmark, outcome, reason, events = [], errors = [] } = got
      if (typeof bookmark !== 'string') throw { next: 'retry', reason: 'no answer of Rowcast’s' }
      if (first) {
        frame({ type: 'welcome', rooms: got.rooms ?? rooms, user: got.user, expiresAt: got.expiresAt, bookmark: place.since ?? bookmark })
      }
      errors.forEach(frame)
      if (first && place.since) {
        const count = events.filter((/** @type {any} */ one) => one.type === 'event').length
        frame({ type: 'subscribed', rooms: got.rooms ?? rooms, outcome, reason, count, bookmark: place.since })
      } else if (outcome === 'gap') {
        frame({ type: 'gap', rooms: ['*'], reason, bookmark })
      }
      for (const event of events) if (!over) frame(event)
      if (over) return
      frame({ type: 'heartbeat', bookmark })
      place = { rooms, since: bookmark }
      const left = asked + PAUSE - clock.now()
      if (!first && !got.more && !events.length && left > 0) {
        await new Promise((go) => clock.later(left, () => go(0)))
      }
    }
  }

  run().catch((why) => {
    if (!over) end(why.next ? why : { next: 'retry', reason: 'the server could not be asked' })
  })
  return {
    send: () => false,
    close() {
      over = true
      stop.abort()
    },
  }
}
