/**
 * State that follows the database: loaded by a call, then changed by each event after exactly the
 * bookmark that came with it; loaded anew after a gap.
 * Hands snapshots to its listeners. It must never apply an event to a state that has it already,
 * nor go on behind a gap.
 */

import { backoff } from './backoff.js'
import { RowcastError } from './errors.js'

/** What may be otherwise a little later; anything else fails for good. */
const PASSING = new Set(['disconnected', 'timeout', 'call-timeout', 'rate-limited', 'overloaded', 'restart', 'unavailable', 'token'])

/**
 * @typedef {{event: (frame: any) => void, done: () => void, gap: (rooms: string[]) => void,
 *   lost: () => void, live: () => void}} Follower
 * @typedef {{settings: import('./settings.js').Settings, failed: (error: unknown) => void,
 *   call: (name: string, args?: object) => Promise<import('./types.d.ts').Answer>,
 *   follow: (follower: Follower) => void, leave: (follower: Follower) => void,
 *   replays: (follower: Follower, count: number) => void,
 *   hold: ReturnType<typeof import('./rooms.js').roster>['hold'], release: (rooms: string[]) => void}} Ground
 */

/**
 * @param {Ground} ground
 * @param {import('./types.d.ts').Call} call
 * @param {string[]} rooms
 * @param {(state: any, event: any) => any} reduce
 * @returns {import('./types.d.ts').Live<any>}
 */
export function follow(ground, call, rooms, reduce) {
  const { clock, retryMin, retryMax } = ground.settings
  const pause = backoff(retryMin, retryMax, clock.random)
  /** @type {Set<{listener: () => void}>} */
  const listeners = new Set()
  /** @type {import('./types.d.ts').LiveSnapshot<any>} */
  let shown = { state: undefined, status: 'loading' }
  /** What events are applied to; shown once what was missed is in it. */
  let state = /** @type {any} */ (undefined)
  /** The number of the load under way or in force; answers to earlier ones count for nothing. */
  let turn = 0
  /** @type {'loading' | 'replaying' | 'live' | 'closed'} */
  let phase = 'loading'
  let holds = false
  let waits = false
  let cancel = () => {}

  /** @param {Partial<import('./types.d.ts').LiveSnapshot<any>>} change */
  function show(change) {
    shown = { ...shown, error: undefined, ...change }
    for (const { listener } of [...listeners]) {
      try {
        listener()
      } catch (error) {
        ground.failed(error)
      }
    }
  }

  function load() {
    cancel()
    waits = false
    const mine = ++turn
    phase = 'loading'
    if (shown.status !== 'loading') show({ status: 'loading' })
    const answer = typeof call === 'function' ? call() : typeof call === 'string' ? ground.call(call) : ground.call(...call)
    answer.then((loaded) => mine === turn && join(mine, loaded)).catch((error) => mine === turn && fail(error))
  }

  /**
   * @param {number} mine
   * @param {import('./types.d.ts').Answer} loaded
   */
  function join(mine, { data, bookmark }) {
    if (typeof bookmark !== 'string') throw new RowcastError('bad-answer', 'the call brought no bookmark')
    // Held once more before the hold of the load before is let go of: the rooms are never left.
    const held = ground.hold(rooms, {
      since: bookmark,
      begin({ outcome, count = 0, refused }) {
        if (mine !== turn || refused.length) return
        if (outcome === 'gap') return again()
        state = data
        phase = 'replaying'
        ground.replays(follower, count)
      },
    })
    if (holds) ground.release(rooms)
    holds = true
    held.then(({ refused: [first] }) => mine === turn && first && fail(Object.assign(new RowcastError(first.code, first.message), { room: first.room })))
      .catch((error) => {
        holds = false
        if (mine === turn) fail(error)
      })
  }

  /** Loads anew after a pause: a gap may come again and again. */
  function again() {
    turn += 1
    phase = 'loading'
    if (shown.status !== 'loading') show({ status: 'loading' })
    wait()
  }

  function wait() {
    cancel()
    waits = true
    cancel = clock.later(pause.next(), load)
  }

  /** @param {any} error */
  function fail(error) {
    turn += 1
    phase = 'loading'
    if (PASSING.has(error.code)) return wait()
    show({ status: 'failed', error })
  }

  /** @type {Follower} */
  const follower = {
    event(frame) {
      if (phase !== 'live' && phase !== 'replaying') return
      try {
        state = reduce(state, frame)
      } catch (error) {
        ground.failed(error)
      }
      if (phase === 'live' && state !== shown.state) show({ state })
    },
    done() {
      if (phase !== 'replaying') return
      phase = 'live'
      pause.reset()
      show({ state, status: 'live' })
    },
    gap(concerned) {
      if (phase === 'closed' || shown.status === 'failed') return
      if (concerned.includes('*') || concerned.some((room) => rooms.includes(room))) load()
    },
    lost() {
      // The rest of the replay is mixed with what others have had already.
      if (phase === 'replaying') again()
    },
    live() {
      if (waits && phase === 'loading') load()
    },
  }

  ground.follow(follower)
  load()
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
    subscribe(listener) {
      const ear = { listener }
      listeners.add(ear)
      return () => listeners.delete(ear)
    },
    reload() {
      if (phase !== 'closed') load()
    },
    close() {
      if (phase === 'closed') return
      phase = 'closed'
      turn += 1
      cancel()
      ground.leave(follower)
      if (holds) ground.release(rooms)
      holds = false
    },
  }
}
