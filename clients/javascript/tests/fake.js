/** A server that does what a test tells it, over a WebSocket, a fetch and a clock of its own. */
import { vi } from 'vitest'

/** What is tested: the source, or what is published, as `js` or `cjs`. */
const DIST = process.env.ROWCAST_CLIENT_DIST
const path = (part) => (DIST ? `../dist/${part}.${DIST}` : `../src/${part}.js`)
export const { connect, RowcastError } = await import(path('index'))

// Loaded before any clock is stopped: modules are not loaded by timers.
for (const part of ['http', 'acks']) await import(path(part))

/** Lets everything run that waits for nothing but its turn. */
export const settle = () => vi.advanceTimersByTimeAsync(0)
/** Streams are read in turns of their own, besides timers. */
export const turns = async () => {
  for (let i = 0; i < 20; i++) await settle()
}
export const pass = (ms) => vi.advanceTimersByTimeAsync(ms)

/** Who listens to the page, by the name of the event; `vi.unstubAllGlobals()` ends it. */
export function listeners() {
  const ears = {}
  vi.stubGlobal('addEventListener', (name, fn, { signal }) => {
    ears[name] = fn
    signal.addEventListener('abort', () => delete ears[name])
  })
  return ears
}

export function server() {
  /** Every socket that was opened, and every request that was made, with when. */
  const sockets = []
  const requests = []

  class FakeSocket {
    constructor(url, protocols) {
      Object.assign(this, { url: new URL(url), protocols, readyState: 0, sent: [], at: Date.now(), wasClosed: false })
      sockets.push(this)
      server.onsocket?.(this)
    }
    send(text) {
      this.sent.push(JSON.parse(text))
    }
    close() {
      this.wasClosed = true
      this.readyState = 3
    }
    /** What the server does. */
    say(...frames) {
      this.readyState = 1
      for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) })
    }
    cut(code = 1006, reason = '') {
      this.readyState = 3
      this.onclose?.({ code, reason })
    }
    query(name) {
      return this.url.searchParams.get(name)
    }
    /** Frames of a type that the client has sent. */
    said(type) {
      return this.sent.filter((frame) => frame.type === type)
    }
  }

  const fetch = (url, options = {}) =>
    new Promise((resolve, reject) => {
      const request = {
        url: new URL(url),
        options,
        headers: options.headers ?? {},
        at: Date.now(),
        wasAborted: false,
        query: (name) => request.url.searchParams.get(name),
        fail: () => reject(new TypeError('fetch failed')),
        json: (body, status = 200, headers = {}) => resolve(Response.json(body, { status, headers })),
        status: (status, body = '', headers = {}) => resolve(new Response(body, { status, headers })),
        /** Begins a stream; what it returns says text, and ends it. */
        stream() {
          let control
          const body = new ReadableStream({ start: (one) => void (control = one) })
          options.signal?.addEventListener('abort', () => {
            try {
              control.error(new DOMException('aborted', 'AbortError'))
            } catch {
              // It has ended.
            }
          })
          resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }))
          const encoder = new TextEncoder()
          return {
            text: (text) => control.enqueue(encoder.encode(text)),
            bytes: (bytes) => control.enqueue(bytes),
            frame(event, data, id) {
              this.text(`event: ${event}\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data)}\n\n`)
            },
            end: () => control.close(),
            fail: () => control.error(new TypeError('cut')),
          }
        },
      }
      options.signal?.addEventListener('abort', () => {
        request.wasAborted = true
        reject(new DOMException('aborted', 'AbortError'))
      })
      requests.push(request)
      server.onrequest?.(request)
    })

  const server = {
    WebSocket: FakeSocket,
    fetch,
    sockets,
    requests,
    onsocket: undefined,
    onrequest: undefined,
    get socket() {
      return sockets.at(-1)
    },
    get request() {
      return requests.at(-1)
    },
    to: (path) => requests.filter((request) => request.url.pathname === path),
  }
  return server
}

export const welcome = ({ rooms = ['user:1'], ...more } = {}) => {
  const home = rooms.filter((room) => room.startsWith('user:')).length
  return { type: 'welcome', user: '1', rooms, home, bookmark: 'h.1_0', heartbeat: 25, ...more }
}
export const event = (id, more = {}) => ({ type: 'event', id: `${id}`, name: 'thing', data: { id }, bookmark: `h.1_0.${id}`, ...more })

/** A storage that forgets with the test. */
export function storage(first = {}) {
  const kept = { ...first }
  return { kept, getItem: (key) => kept[key] ?? null, setItem: (key, value) => void (kept[key] = value) }
}

/** A connection with everything that it told. */
export function open(fake, options = {}) {
  const told = { events: [], statuses: [], gaps: [], errors: [] }
  const connection = connect({
    url: 'http://live.test',
    token: 'jwt',
    WebSocket: fake.WebSocket,
    fetch: fake.fetch,
    storage: null,
    timers: { random: () => 0.5 },
    ...options,
  })
  connection.on('*', (_, frame) => told.events.push(frame.id ?? frame.data))
  connection.on('status', ({ status }) => told.statuses.push(status))
  connection.on('gap', (gap) => told.gaps.push(gap))
  connection.on('error', (error) => told.errors.push(error))
  return { connection, told }
}

/** The same, already live over a WebSocket. */
export async function live(fake, options = {}, first = {}) {
  const opened = open(fake, options)
  await settle()
  fake.socket.say(welcome(first))
  await settle()
  return { ...opened, socket: fake.socket }
}
