/**
 * Keeps one link to the server: opens it, notices its death, comes back, renews the token, moves
 * down to the next transport when one is blocked and up again when it works.
 * Hands frames to the connection, and asks it what a link is to open with. It must never reconnect
 * without a pause, nor with a token that was refused, nor let go of a link before its successor
 * was welcomed.
 */

import { backoff, FLOOR } from './backoff.js'
import { credentials } from './credentials.js'
import { RowcastError } from './error.js'
import { asError, FINAL, NEEDS_TOKEN } from './errors.js'
import { remembered } from './memory.js'
import { isOffline, onWake } from './wake.js'
import { websocket } from './websocket.js'

/**
 * @typedef {Record<string, any> & {type: string}} Frame
 * @typedef {import('./settings.js').Settings} Settings
 * @typedef {{send: (text: string) => boolean, close: () => void}} Wire
 * @typedef {(link: {settings: Settings, token: string | null, opening: import('./address.js').Opening,
 *   frame: (frame: any) => void, heard: () => void, end: (why: RowcastError) => void}) => Wire} Transport
 * @typedef {{index: number, wire?: Wire, token: string | null, offered?: string, declined?: string, opening?: any,
 *   welcomedAt?: number, heardAt: number, silence: number, stop: () => void}} Link
 * Its `token` is the one that the server goes by; `offered` was said since, `declined` refused there.
 * @typedef {{opening: (speaks: boolean) => any, frame: (frame: Frame, opening: any) => void,
 *   lost: () => void, status: (status: import('./types.d.ts').Status, reason: string) => void,
 *   error: (error: unknown) => void}} Host
 * `status`, `frame` and `error` run the application's code, which may close or begin anew: nothing
 * may rest on what was known before them. `lost` runs none.
 */

/** What few pages need comes in a file of its own. */
export const overHttp = () => import('./http.js')

/** Milliseconds in which a link must say something once it is doubted that it lives. */
const GRACE = 3000
/** Milliseconds after its welcome before which a link is not opened anew at once. */
const YOUNG = 1000
/** Milliseconds between two looks at whether `token()` has another, after one was refused. */
const TOKEN_POLL = 30_000
/** Milliseconds before its end at which a token is renewed, or 2/5 of what is left if that is less.
 * More than a minute: in a page that nobody sees, timers run once in one. */
const MARGIN = 90_000
/** The number of the frame that says a new token, in its answer. */
const AUTH = 'auth'

/**
 * @param {Settings} settings
 * @param {Host} host
 */
export function keep(settings, host) {
  const { now, later, random, transports } = settings
  const pause = backoff(settings.retryMin, settings.retryMax, random)
  const renewal = backoff(500, 60_000, random)
  const tokens = credentials(settings)
  /** The link in use. @type {Link | undefined} */
  let link
  /** One beside it that is to take its place. @type {Link | undefined} */
  let trial
  const memory = transports.indexOf(remembered(settings) ?? '')
  /** The transport to begin with, failures of it in a row, and others tried since. */
  let preferred = Math.max(0, memory)
  let failures = 0
  let tried = 0
  /** Failures that are too many: what has worked gets a second chance. */
  let tolerated = memory < 0 ? 1 : 2
  let everLive = false
  /** Whether all transports have failed since a server was heard: another attempt is no return. */
  let isDown = false
  let hasBegun = false
  let isClosed = true
  /** When a wake-up may dial: a server's delay is never shortened. */
  let notBefore = Infinity
  let upgradeAfter = settings.upgradeMin
  /** @type {Record<string, () => void>} */
  const timers = {}
  let sleep = () => {}

  /**
   * Sets a timer in the place of the one with this name, or just stops that.
   * @param {string} what
   * @param {number} [ms]
   * @param {() => void} [fn]
   */
  function timer(what, ms, fn) {
    timers[what]?.()
    delete timers[what]
    if (!fn) return
    timers[what] = later(/** @type {number} */ (ms), () => {
      delete timers[what]
      fn()
    })
  }

  /** @param {Link | undefined} one */
  function drop(one) {
    one?.stop()
    one?.wire?.close()
  }

  /** Leaves no link and no timer. */
  function clear() {
    drop(link)
    drop(trial)
    link = trial = undefined
    Object.keys(timers).forEach((what) => timer(what))
    host.lost()
  }

  /** Says that there is no link. @param {string} reason */
  const away = (reason) => host.status(isDown || isOffline() ? 'offline' : everLive ? 'recovering' : 'connecting', reason)

  const isLive = () => !!link?.welcomedAt

  /** Says a frame; false if the link can't. @param {object} frame */
  const send = (frame) => isLive() && !!link?.wire?.send(JSON.stringify(frame))

  /** @param {Link | undefined} one */
  const speaks = (one) => !!one && transports[one.index] === 'websocket'

  /**
   * Opens a link; with `beside` next to the one in use, which it replaces once it is welcomed.
   * @param {number} index
   * @param {boolean} [beside]
   */
  async function dial(index, beside) {
    /** @type {Link} */
    const mine = { index, token: null, heardAt: now(), silence: 0, stop() {} }
    const isWanted = () => mine === link || mine === trial
    /** @param {RowcastError} why */
    const end = (why) => isWanted() && ended(mine, why)
    drop(trial)
    trial = undefined
    if (beside) trial = mine
    else {
      drop(link)
      link = mine
      notBefore = Infinity
      timer('retry')
    }
    mine.stop = later(settings.connectTimeout, () => {
      end(new RowcastError(mine.opening ? 'timeout' : 'token', 'no answer'))
    })
    try {
      mine.token = await (beside ? tokens.use() : tokens.ask())
      if (!isWanted()) return
      if (!beside) away('connecting')
      mine.opening = host.opening(speaks(mine))
      const open = speaks(mine) ? websocket : (await overHttp())[/** @type {'sse' | 'poll'} */ (transports[index])]
      if (!isWanted()) return
      mine.wire = open({
        settings,
        token: mine.token,
        opening: mine.opening,
        heard: () => (mine.heardAt = now()),
        frame: (frame) => isWanted() && heard(mine, frame),
        end,
      })
    } catch (error) {
      // Of token(); or of a WebSocket that the page's policy forbids, in words that each browser has its own.
      end(mine.opening ? new RowcastError('disconnected') : asError(error, 'token'))
    }
  }

  /**
   * @param {Link} mine
   * @param {Frame} frame
   */
  function heard(mine, frame) {
    const { type } = frame
    mine.heardAt = now()
    if (type === 'welcome') welcomed(mine, frame)
    else if (type === 'authenticated') {
      mine.token = mine.offered ?? mine.token
      renewAt(frame.expiresAt)
    } else if (frame.id === AUTH && NEEDS_TOKEN.includes(frame.code)) mine.declined = mine.offered
    else if (type !== 'subscribed') failures = 0
    host.frame(frame, mine.opening)
  }

  /**
   * @param {Link} mine
   * @param {Frame} frame
   */
  function welcomed(mine, frame) {
    mine.stop()
    mine.welcomedAt = now()
    mine.silence = (frame.heartbeat ?? 0) * 2000
    if (mine === trial) {
      drop(link)
      host.lost()
      link = mine
      trial = undefined
      // What it does not know is said on it, or is a reason anew.
      timer('reopen')
    }
    const { index } = mine
    const isOther = index !== preferred
    const isBetter = index < preferred
    if (isOther) failures = 0
    preferred = index
    if (!isBetter) remembered(settings, transports[index])
    everLive = true
    tolerated = 2
    tried = 0
    isDown = false
    timer('stable', settings.stableAfter, () => {
      pause.reset()
      // While it can be loaded, for when the network is another.
      if (transports[1]) overHttp().catch(() => {})
      // Only now: what lets in and then cuts does not work.
      if (isBetter) {
        upgradeAfter = settings.upgradeMin
        remembered(settings, transports[index])
      }
    })
    timer('watch')
    if (mine.silence) watch(mine, mine.silence)
    renewAt(frame.expiresAt)
    // A stream that was opened anew for its rooms does not put it off.
    if (isOther || !timers.upgrade) planUpgrade()
  }

  /**
   * Gives a link up that is silent. What arrived while the machine slept may still be on its way to
   * us, so it is asked once more before.
   * @param {Link} mine
   * @param {number} ms
   * @param {boolean} [isLast]
   */
  function watch(mine, ms, isLast) {
    const before = mine.heardAt
    timer('watch', ms, () => {
      // The clock may have been set back meanwhile.
      if (mine.heardAt !== before) watch(mine, mine.silence + Math.min(0, mine.heardAt - now()))
      else if (isLast) ended(mine, new RowcastError('disconnected', 'silence'))
      else doubt(mine)
    })
  }

  /** @param {Link} mine */
  function doubt(mine) {
    send({ type: 'ping' })
    watch(mine, GRACE, true)
  }

  /**
   * @param {Link} mine
   * @param {RowcastError} why
   */
  function ended(mine, why) {
    const { code, message, retryAfter } = why
    const { index, welcomedAt, token } = mine
    drop(mine)
    const needsToken = NEEDS_TOKEN.includes(code)
    // The cookie of a session that was let in may have been renewed since.
    if (needsToken && mine.opening && (token || !welcomedAt)) tokens.refuse(token, message)
    if (mine === trial) {
      trial = undefined
      if (index + 1 < preferred) void dial(index + 1, true)
      else if (index < preferred) planUpgrade()
      else timer('reopen', Math.max(retryAfter ?? 0, pause.next()), reopen)
      return
    }
    clear()
    if (needsToken) {
      isDown = false
      if (mine.opening) return retry(pause.next(), message)
      // There is no other: look from time to time whether there is one.
      if (typeof settings.token === 'function') retry(TOKEN_POLL)
      return host.status('refused', message)
    }
    if (FINAL.includes(code) && !retryAfter) return host.status('refused', message)
    const isStable = welcomedAt && mine.heardAt - welcomedAt >= settings.stableAfter
    // Not the transport's fault: the server has spoken, or nothing was tried.
    const isBlameless = isStable || retryAfter || code === 'token' || code === 'lagged'
    const isOrdered = code !== 'disconnected' && retryAfter
    // It can be reached: the next transport is tried for this before all have failed.
    if (isOrdered) { tried = 0; isDown = false }
    if (isBlameless || ++failures < tolerated) return retry(isOrdered ? retryAfter : Math.max(retryAfter ?? 0, pause.next()), message, retryAfter)
    tried += 1
    if (tried < transports.length) return void dial((index + 1) % transports.length)
    // None works: it is not the transport, but the server or the network.
    tried = failures = 0
    isDown = true
    retry(pause.next(), message)
  }

  /**
   * @param {number} ms
   * @param {string} [reason] nothing if the status was told
   * @param {number} [ordered] milliseconds that the server said
   */
  function retry(ms, reason, ordered = 0) {
    notBefore = now() + Math.max(ordered, YOUNG)
    timer('retry', Math.max(FLOOR, ms), () => void dial(preferred))
    if (reason) away(reason)
  }

  /** @param {number | undefined} expiresAt unix seconds */
  function renewAt(expiresAt) {
    timer('renew')
    if (!expiresAt || typeof settings.token !== 'function') return
    const left = expiresAt * 1000 - now()
    // Clocks differ: where it seems to be over each time, the pauses grow.
    if (left > 0) renewal.reset()
    timer('renew', Math.max(left - MARGIN, left * 0.6, renewal.next()), renew)
  }

  async function renew() {
    const mine = link
    // Again, until the server has answered: then `authenticated` sets the time anew.
    timer('renew', settings.connectTimeout, renew)
    const token = await tokens.ask().catch(host.error)
    if (!mine || link !== mine) return
    if (!token || token === mine.token || token === mine.declined) return timer('renew', renewal.next(), renew)
    mine.offered = token
    if (!send({ type: 'auth', token, id: AUTH })) void dial(mine.index, true)
  }

  /** Tries what is better than the link in use, now and then, beside it. */
  function planUpgrade() {
    timer('upgrade')
    if (!preferred) return
    timer('upgrade', upgradeAfter * (0.5 + random() / 2), () => {
      // Not in the place of a trial that rooms wait for.
      if (trial) return planUpgrade()
      upgradeAfter = Math.min(upgradeAfter * 2, settings.upgradeMax)
      void dial(0, true)
    })
  }

  /** There are other rooms: opens a stream anew with them, and the old one goes on until the new one is
   * welcomed; or gives up what is being opened beside a WebSocket without them. */
  function reopen() {
    // One that is under way is not given up for what came later: that goes with the next.
    if (!link?.welcomedAt || trial?.index === preferred) return
    if (speaks(link)) {
      // A stream that is to take its place does not know what is about to be said on this one.
      if (trial) planUpgrade()
      drop(trial)
      trial = undefined
      return
    }
    // A moment, for rooms that come one after the other: nothing has failed.
    timer('reopen', Math.min(FLOOR, Math.max(0, link.welcomedAt + YOUNG - now())), () => void dial(preferred, true))
  }

  /** @param {boolean} networkChanged */
  function wake(networkChanged) {
    if (networkChanged) upgradeAfter = settings.upgradeMin
    if (!link) {
      // Too soon is not never: what has come back may say so only once.
      if (now() > notBefore) isOffline() || void dial(preferred)
      else if (notBefore < Infinity) timer('wake', notBefore - now() + 1, () => link || wake(false))
    } else if (isLive()) {
      if (networkChanged) planUpgrade()
      if (speaks(link) || (link.silence && now() - link.heardAt > link.silence)) doubt(link)
    }
  }

  function stop() {
    isClosed = true
    notBefore = Infinity
    sleep()
    clear()
  }

  return {
    tokens,
    reopen,
    stop,
    isLive,
    /** Whether nothing may begin by itself, until `start`. */
    isClosed: () => isClosed,
    /** Whether a link is being opened beside the one in use. */
    isTrying: () => !!trial,
    start() {
      stop()
      isClosed = isDown = false
      tokens.forgive()
      pause.reset()
      sleep = onWake(wake)
      void dial(preferred)
      // The link that there was may have been another user's.
      if (hasBegun) away('connecting')
      hasBegun = true
    },
    send,
    /** Whether frames can be said on the link in use. */
    speaks: () => isLive() && speaks(link),
    transport: () => (isLive() ? /** @type {any} */ (transports[/** @type {Link} */ (link).index]) : undefined),
  }
}

/** @typedef {ReturnType<typeof keep>} Keeper */
