/**
 * Which rooms are wanted, by how many, and what the server has said to each wish.
 * Hands frames to the keeper and outcomes to those who asked. It must never forget a room that is
 * wanted, whatever happens to links, nor ask again for one that was refused.
 */

import { address } from './address.js'
import { RowcastError } from './error.js'

/** Milliseconds after which a subscribe that found the server busy is said again. */
const BUSY = 2000
const BUSY_WORDS = ['overloaded', 'rate-limited']

/** Characters that rooms have in an address: a request's head has 16 KiB, token, cookies and all. */
const ADDRESS = 4000

/** Bytes of rooms in a frame: one above the server's limit, 64 KiB by default, ends the link for good. */
const FRAME = 60_000
const isFrame = (/** @type {string[]} */ rooms) => new TextEncoder().encode(JSON.stringify(rooms)).length < FRAME

/**
 * What is to be said, in as many parts as it takes frames.
 * @template T
 * @param {T[]} list
 * @param {(one: T) => string | string[]} roomsOf
 * @returns {T[][]}
 */
function inFrames(list, roomsOf) {
  if (list.length < 2 || isFrame(list.flatMap(roomsOf))) return list.length ? [list] : []
  const half = list.length >> 1
  return [list.slice(0, half), list.slice(half)].flatMap((part) => inFrames(part, roomsOf))
}

/** The wishes that a link opened with, and the one that it loads; others have a frame's number. */
const OPENED = 'open'
const LOAD = 'load'

/**
 * A wish: `since` with a place of its own; `begin` hears of the answer before its replay comes;
 * `resumes` one of the roster's own, for rooms that the link could not open with; `alone` if it is to
 * have a frame of its own.
 * @typedef {{rooms: string[], since?: string, begin?: (answer: import('./types.d.ts').Subscribed, count?: number) => void,
 *   resolve: (answer: import('./types.d.ts').Subscribed) => void, reject: (error: RowcastError) => void,
 *   asked?: string | number, refused: import('./types.d.ts').Refused[], resumes?: boolean, alone?: boolean}} Wish
 * And an opening: `rest` are rooms that it has no place for.
 * @typedef {import('./address.js').Opening & {rooms: string[], rest: string[], wishes: Wish[], loading?: Wish}} Opening
 */

/**
 * @param {import('./settings.js').Settings} settings
 * @param {() => import('./keeper.js').Keeper} keeper
 * @param {(error: Error) => void} report
 * @param {(room: string, error: RowcastError) => void} denied hears of each room that is not joined, or no longer
 */
export function roster({ later, random, reader }, keeper, report, denied) {
  /** Each with its holders; `fresh` if a wish with a place of its own is to bring it first,
   * `denied` if it is not to be asked for until somebody wants it anew, false once it was joined.
   * @type {Map<string, {holders: number, fresh: boolean, denied?: boolean}>} */
  const wanted = new Map()
  /** @type {Set<Wish>} */
  const wishes = new Set()
  /** @type {Set<string>} */
  const leaving = new Set()
  /** Left in a frame that was not answered yet. @type {Set<string>} */
  const parting = new Set()
  /** Those that the server gives unasked: left, it would not give them again. @type {Set<string>} */
  const home = new Set()
  let lastId = 0
  /** What is to be said again in a while: each forgets one. @type {Set<() => void>} */
  const again = new Set()

  /** All wishes of one turn go in one frame: the first of these finds them all. */
  const plan = () => queueMicrotask(() => keeper().isLive() && settleUp())

  /** Says what the server does not know yet. */
  function settleUp() {
    const open = askedAs()
    const left = [...leaving].filter((room) => !wanted.has(room) && !home.has(room))
    leaving.clear()
    if (!open.length && !left.length) return
    // For a link that can't be told, and for one beside it that will not know.
    keeper().reopen()
    if (!keeper().speaks()) return
    const isOwn = (/** @type {Wish} */ { since, alone }) => since || alone
    inFrames(open.filter((wish) => !isOwn(wish)), (wish) => wish.rooms).forEach(ask)
    // What is older comes first: a state that was loaded since has had it.
    for (const wish of open) if (wish.since && wish.resumes) ask([wish])
    for (const wish of open) if (isOwn(wish) && !wish.resumes) ask([wish])
    for (const rooms of inFrames(left, String)) {
      for (const room of rooms) parting.add(room)
      keeper().send({ type: 'unsubscribe', rooms })
    }
  }

  /** @param {Wish[]} together */
  function ask(together) {
    const [{ since, begin }] = together
    const rooms = [...new Set(together.flatMap((wish) => wish.rooms))]
    // `again`: also what came through other rooms since then; what begins there needs all of it.
    keeper().send({ type: 'subscribe', id: ++lastId, rooms, since, again: begin && true })
    for (const wish of together) mark(wish, lastId)
  }

  /**
   * @param {Wish} wish
   * @param {string | number} [asked]
   */
  function mark(wish, asked) {
    wish.asked = asked
    wish.refused = []
  }

  /** @param {string | number} [id] without it those that were not asked yet */
  const askedAs = (id) => [...wishes].filter((wish) => wish.asked === id)

  /**
   * It was refused as a whole. What the rooms are to others stays as it is.
   * @param {Wish} wish
   * @param {RowcastError} error
   */
  function fail(wish, error) {
    wishes.delete(wish)
    for (const room of wish.rooms) {
      const want = wanted.get(room)
      // Another that is under way is answered for itself, and what was not even said has no answer for others.
      if (want && (wish.asked || want.holders < 2) && ![...wishes].some(({ rooms }) => rooms.includes(room))) want.denied ??= true
    }
    wish.reject(error)
  }

  /** Nobody waits for this answer. @param {import('./types.d.ts').Subscribed} answer */
  function tellRefused({ refused }) {
    for (const { room, code, message } of refused) report(Object.assign(new RowcastError(code, message), { room }))
  }

  /** @param {string} room */
  function letGo(room) {
    const want = wanted.get(room)
    if (!want || --want.holders) return
    wanted.delete(room)
    // One that was refused is none to leave, and may have no name.
    if (!want.denied) leaving.add(room)
  }

  /**
   * @param {Wish} wish
   * @param {import('./keeper.js').Frame} frame
   */
  function grant(wish, { outcome = 'live', reason, bookmark, count, rooms }) {
    wishes.delete(wish)
    const { refused } = wish
    for (const room of wish.rooms) {
      const want = wanted.get(room)
      const denied = !rooms.includes(room)
      if (want) { want.fresh = false; want.denied = denied }
      else if (!denied) leaving.add(room)
      if (denied && !refused.some((one) => one.room === room)) refused.push({ room, code: 'forbidden', message: 'forbidden' })
    }
    const answer = { outcome, reason, bookmark, rooms: wish.rooms.filter((room) => rooms.includes(room)), refused }
    wish.begin?.(answer, count)
    wish.resolve(answer)
  }

  return {
    /**
     * @param {string[]} rooms
     * @param {string} [since]
     * @param {Wish['begin']} [begin]
     * @returns {Promise<import('./types.d.ts').Subscribed>}
     */
    hold(rooms, since, begin) {
      return new Promise((resolve, reject) => {
        const wish = { rooms, since, begin, resolve, reject, refused: [] }
        // Held even so: `release` lets go of them, whatever was answered.
        this.want(rooms, since)
        // The server's words; for a stream it would be an address that is none, and a link too much.
        if (!rooms[0] || rooms.includes('')) return fail(wish, new RowcastError('bad-message', 'no room, or no name'))
        if (!isFrame(rooms)) return fail(wish, new RowcastError('message-too-big', 'subscribe in parts'))
        wishes.add(wish)
        plan()
      })
    },

    /**
     * @param {string[]} rooms
     * @param {string} [since]
     */
    want(rooms, since) {
      for (const room of rooms) {
        const want = wanted.get(room) ?? { holders: 0, fresh: true }
        if (!since) want.fresh = false
        want.denied &&= undefined
        want.holders += 1
        wanted.set(room, want)
      }
    },

    /** @param {string[]} rooms */
    release(rooms) {
      rooms.forEach(letGo)
      for (const wish of wishes) {
        if (wish.rooms.some((room) => wanted.has(room))) continue
        wishes.delete(wish)
        wish.resolve({ outcome: 'live', rooms: [], refused: [] })
      }
      plan()
    },

    /**
     * What a link is to open with.
     * @param {string | undefined} since
     * @param {boolean} speaks whether wishes with a place of their own can be said in frames
     * @returns {Opening}
     */
    opening(since, speaks) {
      /** @type {string[]} */
      const rooms = []
      /** @type {string[]} */
      const rest = []
      // These stand where an earlier link began, and not where this one does.
      const behind = [...wishes].flatMap((wish) => (wish.resumes ? wish.rooms : []))
      const fits = (/** @type {string[]} */ more) =>
        !more.some((room) => behind.includes(room)) && address('', '', { rooms: [...new Set([...rooms, ...more])] }).length <= ADDRESS
      // What the link in use is loading may be there before this one is.
      for (const [room, { fresh, denied }] of wanted) if (!denied && (!fresh || askedAs(LOAD).some((wish) => wish.rooms.includes(room)))) (fits([room]) ? rooms : rest).push(room)
      const plain = [...wishes].filter((wish) => !wish.since && !wish.rooms.some((room) => rest.includes(room)))
      // One that does not fit has a room that is not among these.
      const loading = [...wishes].find((wish) => !speaks && wish.since && (fits(wish.rooms) || !rest.push(...wish.rooms.filter((room) => !rooms.includes(room)))))
      return { rooms, rest, since, wishes: plain, loading, load: loading?.rooms, from: loading?.since, reader }
    },

    /**
     * @param {import('./keeper.js').Frame} frame
     * @param {Opening} opening
     */
    welcomed(frame, opening) {
      let { since, rest, wishes: open, loading } = opening
      home.clear()
      for (const room of frame.rooms.slice(0, frame.home)) home.add(room)
      for (const room of frame.rooms) {
        const want = wanted.get(room)
        if (want) want.denied = false
        // Left while the link was being opened with it.
        else leaving.add(room)
      }
      for (const wish of open) mark(wish, OPENED)
      if (loading) mark(loading, LOAD)
      // What the link could not open with.
      const still = rest.filter((room) => wanted.has(room) && !wanted.get(room)?.denied)
      for (const wish of wishes) {
        if (!wish.resumes) continue
        // It was not answered: its place is the older one.
        wishes.delete(wish)
        since = wish.since
      }
      // A reader's place is one for all rooms: what others brought, acknowledged, would pass over what these lack.
      if (!reader && keeper().speaks()) {
        for (const rooms of inFrames(still, String)) {
          const reject = (/** @type {RowcastError} */ { code, message }) => rooms.forEach((room) => this.refuse({ code, message, room }))
          wishes.add({ rooms, since, resumes: true, resolve: tellRefused, reject, refused: [] })
        }
      } else {
        for (const room of still) this.refuse({ code: 'unavailable', message: 'needs WebSocket, no reader', room })
        for (const wish of wishes) if (wish.rooms.some((room) => still.includes(room))) grant(wish, frame)
      }
      if (!opening.since && !reader) this.granted(frame, opening)
      plan()
    },

    /**
     * @param {import('./keeper.js').Frame} frame
     * @param {Opening} opening
     * @returns {Wish[]} those that it answers
     */
    granted(frame, opening) {
      // Nobody asked for it: a home room that a renewed token has brought.
      if (!frame.id) for (const room of frame.rooms) if (!opening.rooms.includes(room)) home.add(room)
      const answered = askedAs(frame.id ?? OPENED)
      for (const wish of answered) grant(wish, frame)
      // Another wish may wait for its turn to open the stream with.
      plan()
      return answered
    },

    /** Whether rooms are still to be joined that were there before. */
    isBehind: () => [...wishes].some((wish) => wish.resumes),

    /**
     * An error about a room, or about a frame of ours.
     * @param {{id?: string, code: string, message: string, room?: string}} error
     */
    refuse({ id, code, message, room }) {
      const error = new RowcastError(code, message)
      const isBusy = BUSY_WORDS.includes(code)
      // A frame above the rate was dropped, and nobody says which. A room that was taken is none that a frame
      // still asks for: that has an answer of its own.
      const about = (id ? askedAs(id) : [...wishes]).filter((wish) => (room ? wish.rooms.includes(room) && (id || !(/** @type {any} */ (wish.asked) > 0)) : id || isBusy))
      if (room) {
        const want = wanted.get(room)
        if (want) want.denied = true
        Object.assign(error, { room })
        for (const wish of about) wish.refused.push({ room, code, message })
        if (!about.length) report(error)
        denied(room, error)
      } else if (isBusy) {
        const forget = later(BUSY * (0.5 + random()), () => {
          again.delete(forget)
          for (const wish of about) mark(wish)
          parting.forEach((room) => leaving.add(room))
          plan()
        })
        again.add(forget)
      } else if (about.length) {
        // One of them is to blame, and nobody says which.
        if (about[1]) for (const wish of about) { mark(wish); wish.alone = true }
        else fail(about[0], error)
        plan()
      } else report(error)
    },

    /** @param {import('./keeper.js').Frame} frame */
    gone({ rooms }) {
      for (const room of rooms) parting.delete(room)
    },

    /** The link is gone: what was not answered is asked anew on the next, which opens without what was left. */
    lost() {
      parting.clear()
      for (const wish of wishes) mark(wish)
    },

    /** Nobody will answer any more. */
    closed() {
      again.forEach((forget) => forget())
      again.clear()
      for (const wish of wishes) {
        // These begin where an earlier link did: what they lack is asked for by the next.
        if (wish.resumes) continue
        wishes.delete(wish)
        wish.reject(new RowcastError('closed'))
      }
      // No wish brings them any more, but they are wanted.
      for (const want of wanted.values()) want.fresh = false
    },
  }
}
