/**
 * Keeps one link to the server: opens it, notices its death, comes back, renews the token, moves
 * down to the next transport when one is blocked and up again when it works.
 * Hands frames to the connection, and asks it what a link is to open with. It must never reconnect
 * without a pause, nor with a token that was refused, nor let go of a link before its successor
 * was welcomed.
 */

import { backoff, FLOOR } from './backoff.js'
import { credentials } from './credentials.js'
import { memory } from './memory.js'
import { poll } from './poll.js'
import { sse } from './sse.js'
import { isOffline, onWake } from './wake.js'
import { websocket } from './websocket.js'

/**
 * @typedef {Record<string, any> & {type: string}} Frame
 * @typedef {import('./errors.js').Verdict} Verdict
 * @typedef {import('./settings.js').Settings} Settings
 * @typedef {{send: (text: string) => boolean, close: () => void}} Wire
 * @typedef {(link: {settings: Settings, token?: string, opening: import('./address.js').Opening,
 *   frame: (frame: any) => void, heard: () => void, end: (verdict: Verdict) => void}) => Wire} Transport
 * @typedef {{index: number, wire?: Wire, token?: string, opening?: any,
 *   welcomedAt?: number, heardAt: number, silence: number, moved: boolean, stop: () => void}} Link
 * @typedef {{opening: (speaks: boolean) => any, frame: (frame: Frame, opening: any) => void, lost: () => void,
 *   status: (status: import('./types.d.ts').Status, reason: string) => void,
 *   error: (error: Error) => void}} Host
 */

/** @type {Record<string, Transport>} */
const TRANSPORTS = { websocket, sse, poll }

/** Milliseconds that an answer to a ping may take, when it is doubted that a link lives. */
const DOUBT = 5000
/** Milliseconds after which a link that has missed its heartbeats is given up, if a clock jumped. */
const GRACE = 2000
/** Milliseconds between two looks at whether `token()` has another, after one was refused. */
const TOKEN_POLL = 30_000
/** Blame from which a transport is left for the next: one that has worked gets a second chance. */
const TOO_MUCH = 3
/** What a link is blamed with that died silently or was never welcomed; one cut early: 1. */
const HEAVY = 1.5

/**
 * @param {Settings} settings
 * @param {Host} host
 */
export function keep(settings, host) {
  const { clock, transports } = settings
  const pause = backoff(settings.retryMin, settings.retryMax, clock.random)
  const renewal = backoff(1000, 60_000, clock.random)
  const remembered = memory(settings.storage, settings.url)
  const tokens = credentials(settings.token, clock, settings.callTimeout)
  /** The link in use, and one that is to take its place. @type {Link | undefined} */
  let link
  /** @type {Link | undefined} */
  let trial
  let stopped = true
  let refused = false
  let everLive = false
  /** The transport to begin with, and those tried since one worked. */
  let preferred = Math.max(0, transports.indexOf(/** @type {any} */ (remembered.recall())))
  let tried = 0
  const blame = transports.map(() => 0)
  const worked = transports.map((_, index) => index === preferred && remembered.recall() !== undefined)
  let lastDial = -Infinity
  let ordered = false
  let upgradeAfter = settings.upgradeMin
  /** Timers, each by what it is for; setting one stops the one before. @type {Record<string, () => void>} */
  const timers = {}
  let unwake = () => {}

  /**
   * @param {string} what
   * @param {number} [ms] nothing stops it
   * @param {() => void} [fn]
   */
  function timer(what, ms, fn) {
    timers[what]?.()
    timers[what] = ms === undefined || !fn ? () => {} : clock.later(ms, fn)
  }

  /**
   * @param {number} index
   * @returns {Link}
   */
  const blank = (index) => ({ index, heardAt: clock.now(), silence: 0, moved: false, stop() {} })

  /** @param {Link | undefined} one */
  function drop(one) {
    one?.stop()
    one?.wire?.close()
  }

  /**
   * Opens a link; with `beside` next to the one in use, which it replaces once it is welcomed.
   * @param {number} index
   * @param {boolean} [beside]
   */
  async function dial(index, beside) {
    const mine = blank(index)
    if (beside) {
      drop(trial)
      trial = mine
    } else {
      link = mine
      lastDial = clock.now()
      refused = false
      timer('retry')
      host.status(everLive ? 'recovering' : 'connecting', everLive ? 'reconnecting' : 'connecting')
    }
    const isWanted = () => mine === link || mine === trial
    /** @param {Verdict} verdict */
    const end = (verdict) => isWanted() && ended(mine, verdict)
    try {
      mine.token = await tokens.ask()
    } catch (error) {
      const { code, message } = /** @type {any} */ (error)
      return end({ next: code === 'unauthorized' ? 'token' : 'retry', reason: code ? message : `token() failed: ${message}` })
    }
    if (!isWanted()) return
    mine.stop = clock.later(settings.connectTimeout, () => end({ next: 'retry', reason: 'no answer' }))
    mine.opening = host.opening(transports[index] === 'websocket')
    try {
      mine.wire = TRANSPORTS[transports[index]]({
        settings,
        token: mine.token,
        opening: mine.opening,
        heard: () => (mine.heardAt = clock.now()),
        frame: (frame) => isWanted() && heard(mine, frame),
        end,
      })
    } catch (error) {
      // No such thing here, or forbidden by the page's policy.
      end({ next: 'retry', reason: String(error) })
    }
  }

  /**
   * @param {Link} mine
   * @param {Frame} frame
   */
  function heard(mine, frame) {
    mine.heardAt = clock.now()
    if (frame.type === 'welcome') welcomed(mine, frame)
    else if (frame.type === 'authenticated') renewAt(frame.expiresAt)
    else if (frame.type !== 'subscribed' && frame.type !== 'error') {
      mine.moved = true
      blame[mine.index] = 0
    }
    if (frame.type !== 'pong') host.frame(frame, mine.opening)
  }

  /**
   * @param {Link} mine
   * @param {Frame} frame
   */
  function welcomed(mine, frame) {
    mine.stop()
    mine.welcomedAt = clock.now()
    if (mine === trial) {
      drop(link)
      host.lost()
      link = mine
      trial = undefined
    }
    if (mine.index < preferred) upgradeAfter = settings.upgradeMin
    everLive = worked[mine.index] = true
    tried = 0
    preferred = mine.index
    remembered.keep(transports[preferred])
    timer('stable', settings.stableAfter, pause.reset)
    renewAt(frame.expiresAt)
    mine.silence = frame.heartbeat * 2000
    watch(mine)
    planUpgrade()
  }

  /**
   * Gives a link up that has been silent for too long. A timer that fires late says that the
   * machine has slept: what arrived meanwhile is still on its way to us.
   * @param {Link} mine
   */
  function watch(mine) {
    if (!mine.silence) return timer('watch')
    const due = mine.heardAt + mine.silence
    timer('watch', due - clock.now(), () => {
      if (mine.heardAt + mine.silence > due) watch(mine)
      else if (clock.now() - due > GRACE) doubt(mine, GRACE)
      else ended(mine, { next: 'retry', reason: 'the server fell silent' })
    })
  }

  /**
   * Gives a link up unless it answers soon, or has said something meanwhile.
   * @param {Link} mine
   * @param {number} patience milliseconds
   */
  function doubt(mine, patience) {
    const before = mine.heardAt
    mine.wire?.send('{"type":"ping"}')
    timer('watch', patience, () => {
      if (mine.heardAt > before) watch(mine)
      else ended(mine, { next: 'retry', reason: 'the link died' })
    })
  }

  /**
   * @param {Link} mine
   * @param {Verdict} verdict
   */
  function ended(mine, verdict) {
    drop(mine)
    // A session that was in use may have been renewed since; one that did not get in was not.
    const wasIn = mine.welcomedAt !== undefined && mine.token === undefined
    if (verdict.next === 'token' && !wasIn) tokens.refuse(mine.token)
    if (mine === trial) {
      trial = undefined
      return trialFailed(mine)
    }
    drop(trial)
    link = trial = undefined
    for (const what of ['watch', 'renew', 'upgrade', 'reopen', 'stable']) timer(what)
    host.lost()
    if (verdict.next === 'final') return refuse(verdict.reason)
    if (verdict.next === 'token') return void another(mine.index, verdict.reason)
    if (verdict.next === 'wait') return retry(verdict.ms || pause.next(), verdict.reason, Boolean(verdict.ms))
    const { index, welcomedAt } = mine
    const silent = clock.now() - mine.heardAt > settings.connectTimeout && !mine.moved
    if (welcomedAt === undefined || silent) blame[index] += HEAVY
    else if (clock.now() - welcomedAt < settings.stableAfter) blame[index] += 1
    if (blame[index] < (worked[index] ? TOO_MUCH : HEAVY)) return retry(Math.max(pause.next(), verdict.ms ?? 0), verdict.reason)
    tried += 1
    if (tried < transports.length) return void dial((index + 1) % transports.length)
    // None works: it is not the transport, the server or the network is away.
    tried = 0
    blame.fill(0)
    host.status('offline', isOffline() ? 'no network' : `the server can’t be reached: ${verdict.reason}`)
    retry(pause.next(), '')
  }

  /**
   * @param {number} ms
   * @param {string} reason nothing if the status was told
   * @param {boolean} [isOrdered] by the server: nothing shortens it
   */
  function retry(ms, reason, isOrdered = false) {
    const wait = Math.max(FLOOR, ms)
    ordered = isOrdered
    if (reason) {
      const status = isOffline() ? 'offline' : everLive ? 'recovering' : 'connecting'
      host.status(status, `${reason}; next attempt in ${Math.ceil(wait / 1000)} s`)
    }
    timer('retry', wait, () => void dial(preferred))
  }

  /**
   * A token was refused: only another one is tried, and that after a pause, too.
   * @param {number} index
   * @param {string} reason
   */
  async function another(index, reason) {
    const slot = (link = blank(index))
    /** @type {any} */
    let error
    await tokens.ask().catch((why) => (error = why))
    if (link !== slot) return
    link = undefined
    if (!error) return retry(pause.next(), reason)
    if (error.code !== 'unauthorized') return retry(pause.next(), `token() failed: ${error.message}`)
    refuse(reason)
    if (tokens.canChange) timer('retry', TOKEN_POLL, () => void another(index, reason))
  }

  /** @param {string} reason */
  function refuse(reason) {
    refused = true
    host.status('refused', reason)
  }

  /** @param {number | undefined} expiresAt unix seconds */
  function renewAt(expiresAt) {
    timer('renew')
    if (expiresAt === undefined || !tokens.canChange) return
    const left = expiresAt * 1000 - clock.now()
    // Clocks differ and answers take time. One that is past already is renewed with growing pauses.
    const ms = left > 0 ? Math.max(left - 30_000, left * 0.6) : 0
    if (left > 4000) renewal.reset()
    timer('renew', Math.max(ms, left > 0 ? FLOOR : renewal.next()), () => void renew(expiresAt))
  }

  /** @param {number} expiresAt */
  async function renew(expiresAt) {
    const mine = link
    if (!mine) return
    try {
      const token = await tokens.ask()
      if (link !== mine) return
      if (token !== mine.token) {
        if (!mine.wire?.send(JSON.stringify({ type: 'auth', token, id: 'auth' }))) return void dial(mine.index, true)
        mine.token = token
      }
    } catch (error) {
      host.error(/** @type {Error} */ (error))
    }
    // Until the server has answered; then `authenticated` sets the time anew.
    if (link === mine) timer('renew', renewal.next(), () => void renew(expiresAt))
  }

  /** Tries what is better than the link in use, now and then, beside it. */
  function planUpgrade() {
    if (preferred === 0) return timer('upgrade')
    timer('upgrade', upgradeAfter * (0.5 + clock.random() / 2), () => {
      upgradeAfter = Math.min(upgradeAfter * 2, settings.upgradeMax)
      if (trial) planUpgrade()
      else void dial(0, true)
    })
  }

  /** @param {Link} mine */
  function trialFailed(mine) {
    if (!link) return
    if (mine.index + 1 < link.index) void dial(mine.index + 1, true)
    else if (mine.index < link.index) planUpgrade()
    else timer('reopen', pause.next(), reopen)
  }

  /** Opens the stream anew with other rooms; the old one goes on until the new one is welcomed. */
  function reopen() {
    if (link?.welcomedAt !== undefined) void dial(link.index, true)
  }

  /** @param {boolean} networkChanged */
  function wake(networkChanged) {
    if (networkChanged) upgradeAfter = settings.upgradeMin
    if (link?.welcomedAt !== undefined) {
      if (networkChanged) planUpgrade()
      if (transports[link.index] === 'websocket') doubt(link, DOUBT)
      else if (link.silence && clock.now() - link.heardAt > link.silence) doubt(link, GRACE)
    } else if (!link && !stopped && !ordered && clock.now() - lastDial > 1000) {
      if (!refused) void dial(preferred)
      else if (tokens.canChange) void another(preferred, 'the token was refused')
    }
  }

  function stop() {
    stopped = true
    drop(link)
    drop(trial)
    link = trial = undefined
    Object.keys(timers).forEach((what) => timer(what))
    unwake()
    host.lost()
  }

  return {
    tokens,
    reopen,
    stop,
    start() {
      if (!stopped) stop()
      stopped = refused = ordered = false
      tokens.forgive()
      pause.reset()
      unwake = onWake(wake)
      void dial(preferred)
    },
    /** Says a frame; false if the link can't. @param {object} frame */
    send: (frame) => Boolean(link?.welcomedAt !== undefined && link.wire?.send(JSON.stringify(frame))),
    /** Whether frames can be said on the link in use. */
    speaks: () => link?.welcomedAt !== undefined && transports[link.index] === 'websocket',
    isLive: () => link?.welcomedAt !== undefined,
    transport: () => (link?.welcomedAt !== undefined ? transports[link.index] : undefined),
  }
}

/** @typedef {ReturnType<typeof keep>} Keeper */
