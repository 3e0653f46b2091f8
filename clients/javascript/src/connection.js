/**
 * What the application holds: handlers, rooms, calls and live state over whatever link there is.
 * Hands each event to its handlers, in order and once. It must never say `live` before all that
 * was missed has been handed over, nor take a place from anything but the stream.
 */

import { asking } from './calls.js'
import { emitter } from './emitter.js'
import { keep } from './keeper.js'
import { follow } from './live.js'
import { roster } from './rooms.js'
import { seen } from './seen.js'
import { settle } from './settings.js'

/**
 * @param {string | readonly string[]} rooms
 * @returns {string[]}
 */
const list = (rooms) => (typeof rooms === 'string' ? [rooms] : [...new Set(rooms)])

/**
 * @param {import('./types.d.ts').Options} options
 * @returns {import('./types.d.ts').Connection<any>}
 */
export function open(options) {
  const settings = settle(options)
  const { on, emit, failed } = emitter()
  const ids = seen(settings.remember)
  /** @type {Set<import('./live.js').Follower>} */
  const followers = new Set()
  /** @type {import('./types.d.ts').Status} */
  let status = 'connecting'
  let reason = options.start === false ? 'not started' : 'connecting'
  let place = options.since
  /** @type {string | null | undefined} */
  let user
  let duplicates = 0
  /** The replay under way: how much is left, and whose it is. @type {{left: number, whose?: import('./live.js').Follower} | undefined} */
  let replay
  let transport = /** @type {import('./types.d.ts').TransportName | undefined} */ (undefined)

  /**
   * @param {import('./types.d.ts').Status} next
   * @param {string} why
   */
  function turn(next, why) {
    const now = keeper.transport()
    if (next === status && why === reason && now === transport) return
    ;[status, reason, transport] = [next, why, now]
    emit('status', { status, reason, transport })
  }

  /** What was missed has been handed over. */
  function caughtUp() {
    const done = replay
    replay = undefined
    if (done?.whose) done.whose.done()
    if (status !== 'live' || transport !== keeper.transport()) {
      turn('live', '')
      for (const follower of [...followers]) follower.live()
    }
  }

  /**
   * @param {number} count
   * @param {import('./live.js').Follower} [whose]
   */
  function expect(count, whose) {
    replay = { left: count, whose }
    if (!count) caughtUp()
  }

  /** @param {import('./types.d.ts').Gap} gap */
  function tellGap(gap) {
    // After a crash the database may give out the same ids anew.
    ids.clear()
    emit('gap', gap)
    for (const follower of [...followers]) follower.gap(gap.rooms)
  }

  /** @param {import('./keeper.js').Frame} frame */
  function deliver(frame) {
    const fresh = !frame.id || ids.add(frame.id)
    for (const follower of [...followers]) {
      // A replay for one brings what others, and the handlers, may have had already.
      if (fresh || replay?.whose === follower) follower.event(frame)
    }
    if (fresh) {
      if (frame.name !== 'status' && frame.name !== 'gap' && frame.name !== 'error' && frame.name !== '*') emit(frame.name, frame.data, frame)
      emit('*', frame.data, frame)
    } else {
      duplicates += 1
    }
    if (frame.id && replay && --replay.left <= 0) caughtUp()
  }

  /**
   * @param {import('./keeper.js').Frame} frame
   * @param {import('./rooms.js').Opening} opening
   */
  function hear(frame, opening) {
    const { type } = frame
    if (type === 'result' || type === 'error') {
      if (calls.answered(frame) || type === 'result') return
      // A room that was taken away takes its events with it: the count no longer holds.
      if (replay && frame.room !== undefined && frame.id === undefined) caughtUp()
      if (frame.id === 'auth' && frame.room === undefined) return failed(Object.assign(new Error(frame.message), { code: frame.code }))
      return rooms.refuse(frame)
    }
    if (frame.bookmark) place = frame.bookmark
    if (type === 'event') deliver(frame)
    else if (type === 'heartbeat') replay && caughtUp()
    else if (type === 'gap') tellGap(/** @type {any} */ (frame))
    else if (type === 'welcome') {
      user = frame.user
      if (opening.since) turn('recovering', 'catching up')
      rooms.welcomed(frame, opening)
      if (!opening.since) expect(0)
    } else if (type === 'subscribed') {
      const { id, count = 0, outcome, bookmark } = frame
      const isLoad = rooms.subscribed(frame, opening)
      if (outcome === 'gap' && !isLoad) tellGap({ rooms: frame.rooms, reason: frame.reason, bookmark })
      if (id === undefined) expect(count)
    }
  }

  const keeper = keep(settings, {
    opening: (speaks) => rooms.opening(place, speaks),
    frame: hear,
    error: failed,
    status: turn,
    lost() {
      replay = undefined
      calls.lost()
      rooms.lost()
      for (const follower of [...followers]) follower.lost()
    },
  })
  const rooms = roster(settings, () => keeper, failed)
  const calls = asking(settings, () => keeper)
  /** @type {import('./live.js').Ground} */
  const ground = {
    settings,
    failed,
    call: calls.call,
    hold: rooms.hold,
    release: rooms.release,
    follow: (follower) => void followers.add(follower),
    leave: (follower) => void followers.delete(follower),
    replays: (follower, count) => expect(count, follower),
  }

  rooms.hold(list(options.rooms ?? []), { quiet: true })
  if (options.start !== false) keeper.start()

  return {
    get status() {
      return status
    },
    get reason() {
      return reason
    },
    get transport() {
      return transport
    },
    get bookmark() {
      return place
    },
    get user() {
      return user
    },
    get duplicates() {
      return duplicates
    },
    on,
    subscribe: (names, { since } = {}) => rooms.hold(list(names), { since }),
    unsubscribe: (names) => rooms.release(list(names)),
    call: calls.call,
    live: (call, names, reduce) => follow(ground, call, list(names), reduce),
    reconnect: keeper.start,
    close() {
      keeper.stop()
      rooms.closed()
      turn('offline', 'closed by the application')
    },
  }
}
