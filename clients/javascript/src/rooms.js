/**
 * Which rooms are wanted, by how many, and what the server has said to each wish.
 * Hands frames to the keeper and outcomes to those who asked. It must never forget a room that is
 * wanted, whatever happens to links, nor ask again for one that was refused.
 */

import { RowcastError } from './errors.js'

/** Characters of rooms in an address; the server takes 16 KiB of request head. */
const IN_ADDRESS = 4000
/** Milliseconds after which a subscribe that found the server busy is said again. */
const BUSY = 2000

/**
 * A wish: `since` with a place of its own; `begin` hears of the answer before its replay comes.
 * @typedef {{rooms: string[], since?: string, begin?: (answer: import('./types.d.ts').Subscribed & {count?: number}) => void,
 *   resolve: (answer: import('./types.d.ts').Subscribed) => void, reject: (error: RowcastError) => void,
 *   asked?: boolean, missing?: Set<string>, refused: import('./types.d.ts').Refused[], answer?: any}} Wish
 * @typedef {import('./address.js').Opening & {wishes: Wish[], loading?: Wish, rest: string[]}} Opening
 */

/**
 * @param {import('./settings.js').Settings} settings
 * @param {() => import('./keeper.js').Keeper} keeper
 * @param {(error: Error) => void} report
 */
export function roster(settings, keeper, report) {
  const { clock } = settings
  /** Each with its holders; `later` if a wish with a place of its own is to bring it first. @type {Map<string, {holders: number, later: boolean}>} */
  const wanted = new Map()
  /** @type {Set<Wish>} */
  const wishes = new Set()
  /** Frames without an answer. @type {Map<number, {wishes: Wish[], cancel: () => void}>} */
  const asked = new Map()
  /** @type {Set<string>} */
  let joined = new Set()
  /** @type {Set<string>} */
  const leaving = new Set()
  let lastId = 0
  let planned = false

  /** All wishes of one turn go in one frame. */
  function plan() {
    if (planned) return
    planned = true
    queueMicrotask(() => {
      planned = false
      if (keeper().isLive()) settleUp()
    })
  }

  /** Says what the server does not know yet. */
  function settleUp() {
    const open = [...wishes].filter((wish) => !wish.asked)
    const left = [...leaving].filter((room) => joined.has(room) && !wanted.has(room))
    leaving.clear()
    if (!keeper().speaks()) {
      if (open.length || left.length) keeper().reopen()
      return
    }
    const plain = open.filter((wish) => !wish.since)
    if (plain.length) ask(plain)
    for (const wish of open) if (wish.since) ask([wish])
    if (left.length && keeper().send({ type: 'unsubscribe', rooms: left })) left.forEach((room) => joined.delete(room))
  }

  /** @param {Wish[]} together */
  function ask(together) {
    const id = ++lastId
    const [{ since, begin }] = together
    const rooms = [...new Set(together.flatMap((wish) => wish.rooms))]
    // `again`: also what came through other rooms since then; what begins there needs all of it.
    if (!keeper().send({ type: 'subscribe', id, rooms, since, again: begin && true })) return
    const unask = () => {
      asked.delete(id)
      for (const wish of together) wish.asked = false
    }
    const cancel = clock.later(settings.callTimeout, () => {
      unask()
      plan()
    })
    for (const wish of together) {
      wish.asked = true
      wish.refused = []
    }
    asked.set(id, { wishes: together, cancel })
  }

  /** @param {string} room */
  function forget(room) {
    wanted.delete(room)
    joined.delete(room)
  }

  /**
   * @param {Wish} wish
   * @param {import('./keeper.js').Frame} frame
   */
  function grant(wish, frame) {
    wishes.delete(wish)
    const out = new Set(wish.refused.map(({ room }) => room))
    const rooms = wish.rooms.filter((room) => !out.has(room))
    for (const room of rooms) {
      joined.add(room)
      const want = wanted.get(room)
      if (want) want.later = false
      else leaving.add(room)
    }
    const { outcome, reason, bookmark, count } = frame
    const answer = { outcome, reason, bookmark, rooms, refused: wish.refused }
    wish.begin?.({ ...answer, count })
    wish.resolve(answer)
  }

  /** @param {Wish} wish */
  function grantWhenKnown(wish) {
    if (wish.answer && !wish.missing?.size) grant(wish, wish.answer)
  }

  return {
    /**
     * @param {string[]} rooms
     * @param {{since?: string, begin?: Wish['begin'], quiet?: boolean}} [how]
     * @returns {Promise<import('./types.d.ts').Subscribed>}
     */
    hold(rooms, { since, begin, quiet } = {}) {
      for (const room of rooms) {
        const want = wanted.get(room) ?? { holders: 0, later: since !== undefined }
        if (since === undefined) want.later = false
        want.holders += 1
        wanted.set(room, want)
      }
      if (quiet) return Promise.resolve({ outcome: 'live', rooms, refused: [] })
      return new Promise((resolve, reject) => {
        wishes.add({ rooms, since, begin, resolve, reject, refused: [] })
        plan()
      })
    },

    /** @param {string[]} rooms */
    release(rooms) {
      for (const room of rooms) {
        const want = wanted.get(room)
        if (!want || --want.holders) continue
        wanted.delete(room)
        leaving.add(room)
      }
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
     * @param {boolean} speaks whether the rest can be said in frames
     * @returns {Opening}
     */
    opening(since, speaks) {
      /** @type {string[]} */
      const rooms = []
      /** @type {string[]} */
      const rest = []
      let length = 0
      for (const [room, { later }] of wanted) {
        if (later) continue
        length += encodeURIComponent(room).length + 3
        const fits = !room.includes(',') && (!speaks || length < IN_ADDRESS)
        ;(fits ? rooms : rest).push(room)
      }
      const open = [...wishes]
      const loading = speaks ? undefined : open.find((wish) => wish.since)
      const plain = open.filter((wish) => !wish.since && !wish.rooms.some((room) => rest.includes(room)))
      return { rooms, since, rest, wishes: plain, loading, load: loading?.rooms, from: loading?.since }
    },

    /**
     * @param {import('./keeper.js').Frame} frame
     * @param {Opening} opening
     */
    welcomed(frame, opening) {
      joined = new Set(frame.rooms)
      for (const wish of opening.wishes) {
        if (!wishes.has(wish)) continue
        wish.asked = true
        wish.refused = []
        wish.missing = new Set(wish.rooms.filter((room) => !joined.has(room)))
        wish.answer = opening.since ? undefined : { ...frame, outcome: 'live' }
        grantWhenKnown(wish)
      }
      if (opening.loading) opening.loading.asked = true
      const known = new Set([...wishes].flatMap((wish) => (wish.asked ? [] : wish.rooms)))
      const rest = opening.rest.filter((room) => !known.has(room))
      if (rest.length && !keeper().speaks()) {
        for (const room of rest) this.refuse({ type: 'error', code: 'bad-room', room, message: 'a room with a comma needs WebSocket' })
      } else if (rest.length) {
        wishes.add({ rooms: rest, since: opening.since, refused: [], reject: report, resolve: ({ refused }) => refused.forEach(tell) })
      }
      plan()
    },

    /**
     * @param {import('./keeper.js').Frame} frame
     * @param {Opening} opening
     * @returns {boolean} whether it is the answer to a wish with a `begin`
     */
    subscribed(frame, opening) {
      const found = asked.get(frame.id)
      found?.cancel()
      asked.delete(frame.id)
      const loading = frame.id === 'load' && opening.loading
      const answered = (found?.wishes ?? (loading ? [loading] : [])).filter((wish) => wishes.has(wish))
      for (const wish of answered) grant(wish, frame)
      if (frame.id === undefined) {
        for (const wish of opening.wishes) {
          if (!wishes.has(wish)) continue
          wish.answer = frame
          grantWhenKnown(wish)
        }
      }
      // Another wish may wait for its turn to open the stream with.
      if (loading) plan()
      return answered.some((wish) => wish.begin)
    },

    /**
     * An error about a room, or about a frame of ours.
     * @param {import('./keeper.js').Frame} frame
     */
    refuse(frame) {
      const { id, code, message, room } = frame
      const found = asked.get(id)
      if (room !== undefined) {
        const concerned = [...(found ? found.wishes : wishes)].filter((wish) => wish.rooms.includes(room))
        forget(room)
        for (const wish of concerned) {
          wish.refused.push({ room, code, message })
          wish.missing?.delete(room)
          if (!found) grantWhenKnown(wish)
        }
        if (!concerned.length) tell({ room, code, message })
      } else if (found) {
        asked.delete(id)
        found.cancel()
        if (code === 'overloaded' || code === 'rate-limited') {
          clock.later(BUSY * (0.5 + clock.random()), () => {
            for (const wish of found.wishes) wish.asked = false
            plan()
          })
        } else {
          for (const wish of found.wishes) {
            wishes.delete(wish)
            this.release(wish.rooms)
            wish.reject(new RowcastError(code, message))
          }
        }
      } else {
        report(new RowcastError(code, message))
      }
    },

    /** The link is gone: what was not answered is asked anew on the next. */
    lost() {
      for (const { cancel } of asked.values()) cancel()
      asked.clear()
      joined = new Set()
      for (const wish of wishes) {
        wish.asked = false
        wish.answer = wish.missing = undefined
      }
    },

    /** Nobody will answer any more. */
    closed() {
      const open = [...wishes]
      wishes.clear()
      for (const wish of open) wish.reject(new RowcastError('closed', 'the connection was closed'))
    },
  }

  /** @param {import('./types.d.ts').Refused} refused */
  function tell({ room, code, message }) {
    report(Object.assign(new RowcastError(code, message), { room }))
  }
}
