/**
 * What the application holds: handlers, rooms, calls and live state over whatever link there is.
 * Hands each event to its handlers, in order and once. It must never say `live` before all that
 * was missed has been handed over, nor take a place from anything but the stream.
 */

import { asking } from './calls.js'
import { emitter } from './emitter.js'
import { asError } from './errors.js'
import { keep } from './keeper.js'
import { follow } from './live.js'
import { roster } from './rooms.js'
import { seen } from './seen.js'
import { settle } from './settings.js'

/** Names of what the connection itself tells: an event of such a name is heard by `*` alone. */
const OWN = ['status', 'gap', 'error', '*']

/** What only durable readers need comes in a file of its own. */
const forReaders = () =>
  import('./acks.js').catch((error) => {
    throw asError(error, 'disconnected')
  })

/**
 * @param {string | readonly string[]} rooms
 * @returns {string[]}
 */
const list = (rooms) => [...new Set([rooms].flat())]

/**
 * @param {import('./types.d.ts').Options} options
 * @returns {import('./types.d.ts').Connection<any>}
 */
export function open(options) {
  const settings = settle(options)
  const { on, emit } = emitter()
  const failed = (/** @type {unknown} */ error) => emit('error', error)
  const ids = seen(settings.remember)
  /** @type {Set<import('./live.js').Follower>} */
  const followers = new Set()
  /** @type {import('./types.d.ts').StatusChange} */
  let shown = { status: 'connecting', reason: 'disconnected' }
  let place = options.since
  /** @type {string | null | undefined} */
  let user
  let duplicates = 0
  /** The replay under way: how much is left, and whose it is.
   * @type {{left: number, whose?: Pick<import('./live.js').Follower, 'done'>} | undefined} */
  let replay
  /** What came over the old link since the one that is to take its place was told where to begin,
   * and what of it the new one has yet to bring: it may be behind. @type {Set<string>} */
  let meanwhile = new Set()
  /** @type {Set<string>} */
  const ahead = new Set()

  /**
   * @param {import('./types.d.ts').Status} status
   * @param {string} reason
   */
  function turn(status, reason) {
    const transport = keeper.transport()
    if (status === shown.status && reason === shown.reason && transport === shown.transport) return
    shown = { status, reason, transport }
    emit('status', shown)
  }

  /** @param {(follower: import('./live.js').Follower) => void} tell */
  const tellAll = (tell) => followers.forEach(tell)

  /** What was missed has been handed over. */
  function caughtUp() {
    const { whose } = replay ?? {}
    replay = undefined
    whose?.done()
    if (rooms.isBehind() || !keeper.isLive()) return
    const before = shown
    turn('live', '')
    // Over another transport there may be rooms that this one had no way to ask for.
    if (shown !== before && keeper.isLive()) tellAll((follower) => follower.live())
  }

  /**
   * @param {number} left
   * @param {Pick<import('./live.js').Follower, 'done'>} [whose]
   */
  function expect(left, whose) {
    replay = { left, whose }
    if (!left) caughtUp()
  }

  /** @param {any} gap */
  function tellGap({ id, rooms, reason, bookmark }) {
    // After a crash the database may give out the same ids anew. A subscribe's own place says nothing of the stream's
    // history, and these are gaps within one: trigger, paused, listener, overflow.
    if (!id && !/^(trig|paus|list|over)/.test(reason)) {
      ids.clear()
      ahead.clear()
    }
    emit('gap', { rooms, reason, bookmark })
    tellAll((follower) => follower.gap(rooms))
  }

  /** @param {import('./keeper.js').Frame} frame */
  function deliver(frame) {
    const { id, name, data } = frame
    const isNew = !id || ids.add(id)
    const whose = replay?.whose
    if (isNew && keeper.isTrying()) meanwhile.add(id)
    // A replay for one brings what others had already, or have in what they loaded.
    tellAll((follower) => (whose ? whose === follower : isNew || follower.lacks(id)) && follower.event(frame))
    if (!whose) ahead.delete(id)
    if (isNew) {
      if (!OWN.includes(name)) emit(name, data, frame)
      emit('*', data, frame)
    } else duplicates += 1
    if (id && replay && !--replay.left) caughtUp()
  }

  /** Frames that are part of the stream, by type: these say where it stands.
   * @type {Record<string, (frame: import('./keeper.js').Frame, opening: import('./rooms.js').Opening) => void>} */
  const stream = /** @type {any} */ ({
    __proto__: null,
    event: deliver,
    gap: tellGap,
    heartbeat: () => replay && caughtUp(),
    welcome(/** @type {import('./keeper.js').Frame} */ frame, /** @type {import('./rooms.js').Opening} */ opening) {
      user = frame.user
      meanwhile.forEach((id) => ahead.add(id))
      meanwhile.clear()
      // One that takes the place of a live link has nothing to catch up but that moment.
      const resumes = opening.since ?? opening.reader
      if (resumes && shown.status !== 'live') turn('recovering', 'recovering')
      rooms.welcomed(frame, opening)
      // What they lack may be older than what the others bring first.
      if (rooms.isBehind()) tellAll((follower) => follower.lost(true))
      if (!resumes) expect(0)
    },
    subscribed(/** @type {import('./keeper.js').Frame} */ frame, /** @type {import('./rooms.js').Opening} */ opening) {
      const { id, outcome, bookmark, count } = frame
      // Of rooms that come from further back, unless a state has asked: what is loaded has it, or has had it.
      if (id && count) expect(count, { done() {} })
      const [wish] = rooms.granted(frame, opening)
      // The first answer to a durable name: nobody knows it, or no longer.
      if (opening.reader && !opening.since && !id && outcome === 'live' && shown.status !== 'live') emit('gap', { rooms: ['*'], reason: 'reader', bookmark })
      if (outcome === 'gap' && !wish?.begin) tellGap(frame)
      if (!id || wish?.resumes) expect(count ?? 0)
    },
  })

  /**
   * @param {import('./keeper.js').Frame} frame
   * @param {import('./rooms.js').Opening} opening
   */
  function hear(frame, opening) {
    const { type, bookmark } = frame
    const take = stream[type]
    if (take) {
      if (bookmark) place = bookmark
      take(frame, opening)
    } else if (type === 'unsubscribed') rooms.gone(frame)
    else if (!calls.answered(frame) && type === 'error') {
      const wasBehind = rooms.isBehind()
      rooms.refuse(/** @type {any} */ (frame))
      if (wasBehind && !replay) caughtUp()
    }
  }

  const keeper = keep(settings, {
    opening(speaks) {
      meanwhile.clear()
      return rooms.opening(place, speaks)
    },
    frame: hear,
    error: failed,
    status: turn,
    lost() {
      // Cut there, the place lies behind what states were loaded with: they would be given that again.
      const isBack = replay?.whose
      replay = undefined
      calls.lost()
      rooms.lost()
      tellAll((follower) => follower.lost(isBack))
    },
  })
  const rooms = roster(settings, () => keeper, failed, (room, error) => tellAll((follower) => follower.denied(room, error)))
  const calls = asking(settings, () => keeper)
  /** @type {import('./types.d.ts').Connection['call']} */
  const call = (name, args = {}, how) =>
    calls.say({ type: 'call', function: name, args }, `/call/${encodeURIComponent(name)}`, args, how?.timeout)
  /** @type {((what: any) => Promise<string>) | undefined} */
  let acks
  /** @param {any} what */
  const ack = (what) => forReaders().then(({ acking }) => (acks ??= acking(settings, calls.say, on, keeper.isClosed))(what))
  /** Whether it would be wrong to try anything now. */
  const rests = () => keeper.isClosed() || shown.status === 'refused'
  const ground = { settings, failed, call, followers, expect, isClosed: keeper.isClosed, rests, rooms, ahead }

  rooms.want(list(options.rooms ?? []))
  // What is to be kept while nobody can be asked can't be loaded then.
  if (settings.reader) forReaders().catch(() => {})
  if (options.start !== false) keeper.start()

  return {
    get status() {
      return shown.status
    },
    get reason() {
      return shown.reason
    },
    get transport() {
      return shown.transport
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
    getStatus: () => shown,
    on,
    subscribe: (names, how) => rooms.hold(list(names), how?.since),
    unsubscribe: (names) => rooms.release(list(names)),
    call,
    ack,
    live: (call, names, reduce) => follow(ground, call, list(names), reduce),
    reconnect() {
      keeper.start()
      tellAll((follower) => follower.begin())
    },
    close() {
      keeper.stop()
      rooms.closed()
      turn('offline', 'closed')
    },
  }
}
