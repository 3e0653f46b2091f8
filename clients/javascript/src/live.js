/**
 * State that follows the database: loaded by a call, then changed by each event after exactly the
 * bookmark that came with it; loaded anew after a gap.
 * Hands snapshots to its listeners. It must never apply an event to a state that has it already,
 * nor go on behind a gap.
 */

import { backoff } from './backoff.js'
import { emitter } from './emitter.js'
import { RowcastError } from './error.js'
import { NEEDS_TOKEN, PASSES } from './errors.js'

/**
 * @typedef {{begin: () => void, event: (frame: any) => void, lacks: (id: string) => boolean, done: () => void, gap: (rooms: string[]) => void,
 *   denied: (room: string, error: RowcastError) => void, lost: (isBack?: unknown) => void, live: () => void}} Follower
 * @typedef {{settings: import('./settings.js').Settings, failed: (error: unknown) => void,
 *   call: (name: string, args?: object) => Promise<import('./types.d.ts').Answer>,
 *   followers: Set<Follower>, expect: (count: number, whose: Follower) => void, isClosed: () => boolean, rests: () => boolean,
 *   rooms: ReturnType<typeof import('./rooms.js').roster>, ahead: Set<string>}} Ground
 */

/**
 * @param {Ground} ground
 * @param {import('./types.d.ts').Call} call
 * @param {string[]} names
 * @param {(state: any, event: any) => any} reduce
 * @returns {import('./types.d.ts').Live<any>}
 */
export function follow({ settings, failed, call: ask, followers, expect, isClosed, rests, rooms, ahead }, call, names, reduce) {
  const pause = backoff(settings.retryMin, settings.retryMax, settings.random)
  const { on, emit } = emitter(failed)
  /** @type {import('./types.d.ts').LiveSnapshot<any>} */
  let shown = { state: undefined, status: 'loading' }
  /** What events are applied to; shown once what was missed is in it. @type {any} */
  let state
  /** The number of the load in force; what comes of earlier ones counts for nothing. */
  let turn = 0
  /** @type {'loading' | 'waiting' | 'failed' | 'replaying' | 'live' | 'closed'} */
  let phase = 'loading'
  let isHeld = false
  /** What handlers had before the state began, and comes after it. @type {Set<string>} */
  let lacked
  let cancel = () => {}

  /**
   * @param {typeof phase} next
   * @param {Partial<import('./types.d.ts').LiveSnapshot<any>>} [change]
   */
  function enter(next, change = { status: 'loading' }) {
    phase = next
    if (change.status === 'loading' && shown.status === 'loading') return
    shown = { ...shown, error: undefined, ...change }
    emit('')
  }

  async function load() {
    cancel()
    const mine = ++turn
    enter('loading')
    try {
      const { data, bookmark } = await (typeof call === 'function' ? call() : ask(.../** @type {[string]} */ ([call].flat())))
      if (mine !== turn) return
      if (!bookmark) throw new RowcastError('bad-answer')
      // Held before the hold of the last load is let go of: the rooms are never left.
      const held = rooms.hold(names, bookmark, ({ outcome, refused: [first] }, count = 0) => {
        if (mine !== turn || first) return
        if (outcome === 'gap') return wait()
        state = data
        phase = 'replaying'
        lacked = new Set(ahead)
        expect(count, follower)
      })
      if (isHeld) rooms.release(names)
      isHeld = true
      const { refused: [first] } = await held
      if (first) throw Object.assign(new RowcastError(first.code, first.message), first)
    } catch (/** @type {any} */ error) {
      if (mine === turn) fail(error)
    }
  }

  /** @param {any} error */
  function fail(error) {
    // Anything else fails until `reload()`.
    if (['closed', ...NEEDS_TOKEN, ...PASSES].includes(error.code)) return wait(error.room)
    turn += 1
    enter('failed', { status: 'failed', error })
  }

  /**
   * Loads anew after a pause: what went wrong may go wrong again and again.
   * @param {string} [room] one that this transport has no way to ask for
   */
  function wait(room) {
    cancel()
    turn += 1
    enter('waiting')
    // `live` wakes it up when the connection begins anew, or goes by another transport.
    if (!rests() && !room) cancel = settings.later(pause.next(), load)
  }

  /** @type {Follower} */
  const follower = {
    // What is made of a closed connection begins with that.
    begin: () => turn || isClosed() || load(),
    event(frame) {
      if (phase !== 'live' && phase !== 'replaying') return
      try {
        state = reduce(state, frame)
      } catch (error) {
        failed(error)
      }
      if (phase === 'live' && state !== shown.state) enter(phase, { state })
    },
    lacks: (id) => lacked?.delete(id),
    done() {
      if (phase !== 'replaying') return
      pause.reset()
      enter('live', { state, status: 'live' })
    },
    gap(concerned) {
      if (phase !== 'failed' && (concerned.includes('*') || concerned.some((room) => names.includes(room)))) load()
    },
    // While it loads it hears of it by its own answer.
    denied: (room, error) => (phase === 'live' || phase === 'replaying') && names.includes(room) && fail(error),
    // The rest of the replay will come mixed with what was delivered before; and a pause ends with `close()`.
    lost: (isBack) => (phase === 'replaying' || phase === 'waiting' || (isBack && phase === 'live')) && wait(),
    live: () => phase === 'waiting' && load(),
  }

  followers.add(follower)
  follower.begin()
  return {
    get state() {
      return shown.state
    },
    get status() {
      return shown.status
    },
    get error() {
      return shown.error
    },
    get: () => shown,
    subscribe: (listener) => on('', listener),
    reload() {
      if (phase !== 'closed') load()
    },
    close() {
      phase = 'closed'
      turn += 1
      cancel()
      followers.delete(follower)
      if (isHeld) rooms.release(names)
      isHeld = false
    },
  }
}
