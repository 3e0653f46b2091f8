/**
 * The options as given, with a default for each that was not.
 * Hands them to everybody. It must never accept what can only be a mistake.
 */

import { clock } from './clock.js'

/** @param {import('./types.d.ts').Options} options */
export function settle(options) {
  const { url, transports = ['websocket', 'sse', 'poll'] } = options
  if (!/^https?:\/\//.test(url)) throw new TypeError(`url must begin with http:// or https://, not ${url}`)
  const Socket = options.WebSocket ?? globalThis.WebSocket
  // In browsers fetch must be called on the window.
  const fetch = options.fetch ?? ((/** @type {any[]} */ ...asked) => globalThis.fetch(.../** @type {[any]} */ (asked)))
  const usable = transports.filter((name) => name !== 'websocket' || Socket)
  if (!usable.length) throw new TypeError('no transport is left: there is no WebSocket here')
  return {
    url,
    token: options.token,
    transports: usable,
    WebSocket: Socket,
    fetch,
    storage: options.storage,
    clock: clock(options.timers),
    /** Milliseconds within which a link must be welcomed. */
    connectTimeout: options.connectTimeout ?? 10_000,
    /** Milliseconds that a call, a subscribe or `token()` may take. */
    callTimeout: options.callTimeout ?? 15_000,
    /** Milliseconds that the first pause before a reconnect lasts at most, and any. */
    retryMin: options.retryMin ?? 500,
    retryMax: options.retryMax ?? 30_000,
    /** Milliseconds that a link must last for the pauses to begin small again. */
    stableAfter: options.stableAfter ?? 5000,
    /** Milliseconds until a better transport is tried again, first and at most. */
    upgradeMin: options.upgradeMin ?? 15_000,
    upgradeMax: options.upgradeMax ?? 900_000,
    /** Seconds that a poll waits at the server. */
    pollWait: options.pollWait ?? 25,
    /** Ids that are remembered: as many as a replay may bring. */
    remember: options.remember ?? 10_000,
  }
}

/** @typedef {ReturnType<typeof settle>} Settings */
