/**
 * How far the application has come, on its way to the server: the last word counts, and one is under
 * way at a time.
 * Hands the stored bookmark to everybody whose word it covers. It must never let the last word go,
 * unless the server has refused it.
 */

import { backoff } from './backoff.js'
import { RowcastError } from './error.js'
import { PASSES } from './errors.js'

// The way for the last word where no link speaks: it can't be loaded when nobody can be reached.
import('./http.js').catch(() => {})

/**
 * @param {import('./settings.js').Settings} settings
 * @param {(frame: object, path: string, said: object) => Promise<{bookmark: string}>} say
 * @param {(name: 'status', fn: (change: import('./types.d.ts').StatusChange) => void) => void} on
 * @param {() => boolean} isClosed
 * @returns {(what: string | {bookmark?: string}) => Promise<string>}
 */
export function acking({ later, retryMin, retryMax, random, reader }, say, on, isClosed) {
  const pause = backoff(retryMin, retryMax, random)
  /** @type {{resolve: (stored: any) => void, reject: (error: unknown) => void}[]} */
  let waiting = []
  /** What is still to be told. @type {string | undefined} */
  let next
  let isBusy = false
  /** Ends the pause after what did not get through. @type {(() => void) | undefined} */
  let cancel

  function stop() {
    cancel?.()
    cancel = undefined
  }

  async function go() {
    if (isBusy || cancel || !next) return
    const [bookmark, those] = [next, waiting]
    isBusy = true
    next = undefined
    waiting = []
    try {
      const stored = await say({ type: 'ack', bookmark }, `/ack/${encodeURIComponent(reader ?? '')}`, { bookmark })
      pause.reset()
      for (const { resolve } of those) resolve(stored.bookmark)
    } catch (/** @type {any} */ error) {
      if (PASSES.includes(error.code)) {
        next ??= bookmark
        waiting = those.concat(waiting)
        if (!isClosed()) cancel = later(Math.max(error.retryAfter ?? 0, pause.next()), again)
        isBusy = false
        return
      }
      for (const { reject } of those) reject(error)
    }
    isBusy = false
    go()
  }

  function again() {
    stop()
    go()
  }

  on('status', ({ status }) => {
    if (isClosed()) stop()
    else if (status === 'live') again()
  })
  return (what) =>
    new Promise((resolve, reject) => {
      const bookmark = typeof what === 'string' ? what : what.bookmark
      if (!reader || !bookmark) return reject(new RowcastError(reader ? 'bad-bookmark' : 'no-reader'))
      next = bookmark
      waiting.push({ resolve, reject })
      go()
    })
}
