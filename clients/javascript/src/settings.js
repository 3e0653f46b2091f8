/**
 * The options as given, with a default for each that was not.
 * Hands them, and the clock, to everybody. It must never accept what can only be a mistake.
 */

import { clock } from './clock.js'

const DEFAULTS = {
  /** Milliseconds within which a link must be welcomed. */
  connectTimeout: 10_000,
  /** Milliseconds that a call or `token()` may take. */
  callTimeout: 15_000,
  /** Milliseconds that the first pause before a reconnect lasts at most, and any. */
  retryMin: 500,
  retryMax: 30_000,
  /** Milliseconds that a link must last for the pauses to begin small again. */
  stableAfter: 5000,
  /** Milliseconds until a better transport is tried again, first and at most. */
  upgradeMin: 15_000,
  upgradeMax: 900_000,
  /** Seconds that a poll waits at the server. */
  pollWait: 25,
  /** Ids that are remembered: as many as a replay may bring. */
  remember: 10_000,
  transports: /** @type {string[]} */ (['websocket', 'sse', 'poll']),
}

/** @param {import('./types.d.ts').Options} options */
export function settle(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const settings = {
    // In browsers fetch must be called on the window.
    fetch: /** @type {(...asked: any[]) => Promise<any>} */ ((asked, how) => fetch(asked, how)),
    WebSocket: /** @type {any} */ (globalThis.WebSocket),
    ...DEFAULTS,
    .../** @type {Pick<typeof options, 'token' | 'storage' | 'reader'>} */ (given),
    // A URL object is as good as its text.
    url: `${options.url}`,
    ...clock(options.timers),
  }
  const { url, transports } = settings
  settings.transports = transports.filter((name) => name !== 'websocket' || settings.WebSocket)
  if (!/^https?:/.test(url) || !settings.transports[0] || transports.some((name) => !DEFAULTS.transports.includes(name))) {
    throw new TypeError(`bad url or transports: ${url} ${transports}${settings.WebSocket ? '' : ', and there is no WebSocket here'}`)
  }
  return settings
}

/** @typedef {ReturnType<typeof settle>} Settings */
