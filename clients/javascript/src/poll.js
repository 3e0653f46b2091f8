/**
 * One link over long poll: the same question again and again, each from the bookmark of the last.
 * Hands frames as a WebSocket's, and the reason of its end, to the keeper. It must never ask again
 * at once when it was answered nothing at once.
 */

import { address, request } from './address.js'
import { ofAnswer } from './answer.js'
import { RowcastError } from './error.js'

/** Milliseconds between two questions at least, if the first was answered with nothing. */
const PAUSE = 1000

/** @type {import('./keeper.js').Transport} */
export function poll({ settings, token, opening, frame, end }) {
  // One for each question: Node warns of one that many were asked with.
  let stop = new AbortController()
  const isOver = () => stop.signal.aborted

  /**
   * @param {import('./address.js').Opening} place
   * @param {number} wait
   */
  async function ask(place, wait) {
    stop = new AbortController()
    const answer = await settings.fetch(address(settings.url, '/poll', place, wait), request(token, stop.signal))
    if (!answer.ok) throw await ofAnswer(answer, settings.now())
    return answer.json()
  }

  async function run() {
    let place = opening
    // The first answer comes at once, so that a proxy in the way is noticed.
    for (let wait = 0; !isOver(); wait = settings.pollWait) {
      const asked = settings.now()
      // A server that is gone answers nothing, or half: no poll lasts longer than it asked for.
      const cancel = settings.later(wait * 1000 + settings.connectTimeout, () => fail())
      const got = await ask(place, wait).finally(cancel)
      const { rooms, outcome, reason, events, bookmark } = got
      const loaded = events.findIndex((/** @type {any} */ one) => one.type === 'subscribed' && one.id === 'load')
      // Of a load there is nothing more to come when it is there.
      const isPart = got.more && loaded < 0
      if (isOver()) return
      // Where it stood is known to the server alone, if it has come by a durable name.
      if (!wait) frame({ ...got, outcome: undefined, type: 'welcome', bookmark: place.since ?? (place.reader && events[0] ? undefined : bookmark) })
      got.errors?.forEach(frame)
      if (wait ? outcome === 'gap' : place.since ?? place.reader) {
        // How much more there is, nobody says: it ends with the heartbeat.
        const count = isPart ? Infinity : loaded < 0 ? events.length : loaded
        // A gap lies behind what was missed.
        frame({ type: wait ? 'gap' : 'subscribed', rooms, outcome, reason, count, bookmark: outcome === 'recovered' ? place.since : bookmark })
      }
      for (const event of events) if (!isOver()) frame(event)
      if (isOver()) return
      if (!isPart) frame({ type: 'heartbeat', bookmark })
      // A load comes whole or not at all: until it came it is asked for as at first.
      if (loaded >= 0) place = { ...place, rooms: [...(place.rooms ?? []), ...(place.load ?? [])], load: undefined, from: undefined }
      // A room that was refused would be asked for, and refused, with each question.
      place = { ...place, rooms: place.rooms?.filter((room) => !got.errors?.some((/** @type {any} */ error) => error.room === room)), since: bookmark }
      if (wait && !got.more && !events.length) {
        // The clock may have been set back meanwhile.
        await new Promise((go) => settings.later(Math.min(PAUSE, asked + PAUSE - settings.now()), () => go(0)))
      }
    }
  }

  /** @param {any} [error] */
  function fail(error) {
    if (isOver()) return
    stop.abort()
    end(error?.code ? error : new RowcastError('disconnected', 'the server could not be asked'))
  }

  run().catch(fail)
  return { send: () => false, close: () => stop.abort() }
}
