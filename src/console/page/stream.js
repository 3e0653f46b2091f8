// One stream of server-sent events, read by fetch so that the token travels in a header. It comes
// back by itself, later each time, but never with a token that was refused.

import { headers } from './session.js'

const FIRST_WAIT = 500
const LONGEST_WAIT = 10_000

export class Stream {
  #controller = null
  #timer = 0
  #watchdog = 0
  #failed = 0

  /**
   * `heard(name, data)` is called for each event; `status(word, detail)` with connecting, live,
   * offline (detail: milliseconds until the next attempt) or refused (detail: {status, message}).
   * A stream that says nothing for `silence` milliseconds is dead.
   */
  constructor(path, { heard, status, silence }) {
    Object.assign(this, { path, heard, status, silence })
  }

  start() {
    this.stop()
    this.#failed = 0
    this.#open()
  }

  stop() {
    clearTimeout(this.#timer)
    clearTimeout(this.#watchdog)
    this.#controller?.abort()
    this.#controller = null
  }

  get runs() {
    return this.#controller !== null
  }

  async #open() {
    const controller = new AbortController()
    this.#controller = controller
    this.status('connecting')
    this.#expectWord(controller)
    try {
      const answer = await fetch(this.path, { headers: headers(), cache: 'no-store', signal: controller.signal })
      if (controller !== this.#controller) return
      if (!answer.ok) return this.#refused(answer, controller)
      await this.#read(answer.body, controller)
    } catch {
      // A network that failed, or our own abort: both end below.
    }
    if (controller === this.#controller) this.#again()
  }

  async #refused(answer, controller) {
    const body = await answer.json().catch(() => ({}))
    if (controller !== this.#controller) return
    if ([429, 502, 503, 504].includes(answer.status)) {
      this.#again(body.error?.message)
    } else {
      this.stop()
      this.status('refused', { status: answer.status, message: body.error?.message })
    }
  }

  async #read(body, controller) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (;;) {
      const { value, done } = await reader.read()
      if (done || controller !== this.#controller) return
      this.#expectWord(controller)
      text += value
      const blocks = text.split('\n\n')
      text = blocks.pop()
      for (const block of blocks) {
        const [name, data] = parse(block)
        if (!name) continue
        if (name === 'end') return this.#ended(data)
        this.#failed = 0
        this.heard(name, data)
        if (controller !== this.#controller) return
      }
    }
  }

  #ended({ code, message }) {
    if (['token-expired', 'revoked', 'unauthorized'].includes(code)) {
      this.stop()
      this.status('refused', { status: 401, message })
    }
  }

  /** Ends what is silent for too long. */
  #expectWord(controller) {
    clearTimeout(this.#watchdog)
    this.#watchdog = setTimeout(() => {
      if (controller === this.#controller) this.#again()
    }, this.silence)
  }

  #again(why) {
    this.stop()
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failed)
    this.#failed += 1
    const wait = most * (0.5 + Math.random() / 2)
    this.status('offline', { wait, why })
    this.#timer = setTimeout(() => this.#open(), wait)
  }
}

function parse(block) {
  let name = ''
  let data = ''
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7)
    if (line.startsWith('data: ')) data = line.slice(6)
  }
  return [name, name ? JSON.parse(data) : null]
}
