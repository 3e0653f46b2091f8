// What the README says of options, against the types and the code; and its examples.
import { readFileSync } from 'node:fs'
import { transformSync } from 'esbuild'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { settle as settings } from '../src/settings.js'
import { connect, event, pass, server, settle, welcome } from './fake.js'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
const section = read('../README.md').split('## Options')[1].split('\n## ')[0]
const rows = section.split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split('|').slice(1, 4).map((cell) => cell.trim()))
/** Each option with its default: of a row that names two, the first and the second. */
const documented = Object.fromEntries(
  rows.flatMap(([names, defaults]) => names.match(/\w+/g).map((name, index) => [name, (defaults.match(/\d+|\w+/g) ?? [])[index]])),
)
const typed = read('../src/types.d.ts').split('export interface Options {')[1].split('\n}')[0]

test('the README lists every option, and no other', () => {
  expect(Object.keys(documented).sort()).toEqual([...typed.matchAll(/^  (\w+)\??:/gm)].map(([, name]) => name).sort())
})

test('the README and the types name the defaults that hold', () => {
  const numbers = Object.entries(settings({ url: 'http://a', WebSocket: class {} })).filter(([, value]) => typeof value === 'number')
  expect(numbers.length).toBeGreaterThan(8)
  for (const [name, value] of numbers) {
    expect([name, documented[name]]).toEqual([name, String(value)])
    expect(typed).toMatch(new RegExp(`default ${value}\\. \\*/\\n  ${name}\\?: number`))
  }
})

describe('each example of the README runs as it stands', () => {
  const blocks = (language) => [...read('../README.md').matchAll(new RegExp('```' + language + '\\n([^]*?)```', 'g'))].map(([, code]) => code)
  /** Runs it as the body of a module in which these names are known. */
  function run(code, known) {
    const body = code.replace(/import (\{.*\}) from '.*'/g, 'const $1 = rowcastClient')
    const AsyncFunction = (async () => {}).constructor
    return new AsyncFunction(...Object.keys(known), body)(...Object.values(known))
  }
  let fake
  let opened
  const rowcastClient = {
    connect(options) {
      opened = connect({ ...options, WebSocket: fake.WebSocket, fetch: fake.fetch, storage: null, timers: { random: () => 0.5 } })
      return opened
    },
  }
  const resumed = { type: 'subscribed', rooms: ['orders'], outcome: 'recovered', count: 0, bookmark: 'h.1_0' }
  beforeEach(() => {
    vi.useFakeTimers()
    opened = undefined
    fake = server()
  })
  afterEach(() => {
    opened?.close()
    vi.useRealTimers()
  })

  test('there are these', () => {
    expect(['js', 'jsx', 'html', 'ts'].map((language) => blocks(language).length)).toEqual([4, 1, 1, 2])
  })

  test('a week that follows the database', async () => {
    const [show, badge] = [vi.fn(), vi.fn()]
    const fetch = vi.fn(async () => new Response('jwt')).mockResolvedValueOnce(new Response('<html>', { status: 502 }))
    await run(blocks('js')[0], { rowcastClient, show, badge, fetch })
    await settle()
    // A page in the place of a token is no token.
    expect(fake.sockets).toHaveLength(0)
    await pass(1000)
    expect(fake.socket.protocols).toEqual(['rowcast.v1', 'bearer.jwt'])
    // It does not wait for a link.
    const [call] = fake.to('/call/lab_week')
    expect(JSON.parse(call.options.body)).toEqual({ lab: 1 })
    call.json({ data: { 1: 'one' }, bookmark: 'h.1_0' })
    await settle()
    fake.socket.say(welcome())
    await settle()
    const [{ id }] = fake.socket.said('subscribe')
    fake.socket.say({ type: 'subscribed', id, rooms: ['lab:1'], outcome: 'recovered', count: 0 }, event(2))
    expect(show).toHaveBeenLastCalledWith({ 1: 'one', 2: { id: 2 } })
    expect(badge).toHaveBeenLastCalledWith('live', '')
  })

  test('in Node', async () => {
    const known = { save: vi.fn(), readAll: vi.fn(), load: async () => 'h.0_0', process: { env: { TOKEN: 'jwt' }, once: vi.fn() }, console: { error: vi.fn() } }
    await run(blocks('js')[1], { rowcastClient, ...known })
    await settle()
    expect([fake.socket.query('rooms'), fake.socket.query('since')]).toEqual(['orders', 'h.0_0'])
    fake.socket.say(welcome(), resumed, event(1, { name: 'order:created' }), { type: 'gap', rooms: ['*'], reason: 'horizon', bookmark: 'h.9_0' })
    // The place behind the gap is not saved before that of the event before it.
    expect(known.readAll).not.toHaveBeenCalled()
    await settle()
    expect(known.save).toHaveBeenCalledWith({ id: 1 }, 'h.1_0.1')
    expect(known.readAll).toHaveBeenCalledWith('h.9_0')
    fake.socket.say({ type: 'error', code: 'forbidden', message: 'no', room: 'orders' })
    expect(known.console.error.mock.calls[0][0]).toMatchObject({ code: 'forbidden', room: 'orders' })
    const [[signal, end]] = known.process.once.mock.calls
    end()
    expect([signal, fake.socket.wasClosed, vi.getTimerCount()]).toEqual(['SIGTERM', true, 0])
  })

  test('a reader', async () => {
    const known = { url: 'http://live.test', token: 'jwt', writeInvoice: vi.fn(), readAll: vi.fn() }
    await run(blocks('js')[2], { connect: rowcastClient.connect, ...known })
    await settle()
    fake.socket.say(welcome(), resumed, event(1, { name: 'order:created' }))
    await settle()
    expect(known.writeInvoice).toHaveBeenCalledWith({ id: 1 }, '1')
    fake.socket.say({ type: 'acked', id: fake.socket.said('ack')[0].id, bookmark: 'h.1_0.1' }, { type: 'gap', rooms: ['*'], reason: 'horizon', bookmark: 'h.9_0' })
    await settle()
    expect(known.readAll).toHaveBeenCalledOnce()
    expect(fake.socket.said('ack').map(({ bookmark }) => bookmark)).toEqual(['h.1_0.1', 'h.9_0'])
  })

  test('lost event: a reader acknowledges none before those that came before it are done', async () => {
    const written = []
    const writeInvoice = (_, id) => new Promise((resolve, reject) => written.push({ id, resolve, reject }))
    // What Node would end the process for.
    const unhandled = vi.fn()
    const others = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', unhandled)
    await run(blocks('js')[2], { connect: rowcastClient.connect, url: 'http://live.test', token: 'jwt', writeInvoice, readAll: vi.fn() })
    await settle()
    const acked = () => fake.socket.said('ack').map(({ bookmark }) => bookmark)
    fake.socket.say(welcome(), { ...resumed, count: 3 }, ...[1, 2, 3].map((id) => event(id, { name: 'order:created' })))
    await settle()
    written[0].resolve()
    await settle()
    expect([written.map(({ id }) => id), acked()]).toEqual([['1', '2'], ['h.1_0.1']])
    written[1].reject(new Error('the disk is full'))
    await settle()
    vi.useRealTimers()
    await new Promise((go) => setImmediate(go))
    process.removeAllListeners('unhandledRejection')
    for (const other of others) process.on('unhandledRejection', other)
    expect([written.length, acked(), unhandled.mock.calls.map(([error]) => error.message)]).toEqual([2, ['h.1_0.1'], ['the disk is full']])
  })

  test('stores of other frameworks say what is there, and what comes', async () => {
    let snapshot = { state: 1 }
    const told = new Set()
    const live = { get: () => snapshot, subscribe: (fn) => told.add(fn) && (() => told.delete(fn)), close: vi.fn() }
    const heard = []
    const known = {
      live,
      made: [],
      shallowRef: (value) => ({ value }),
      onScopeDispose: (end) => (known.dispose = end),
      readable: (_, start) => start((now) => heard.push(now.state)),
      from: (start) => start((next) => heard.push(next().state)),
    }
    await run(`${blocks('js')[3]}\nmade.push(vueLive(live), svelteLive(live), solidLive(live))`, known)
    const [shown, ...stops] = known.made
    expect([shown.value.state, heard]).toEqual([1, [1, 1]])
    snapshot = { state: 2 }
    told.forEach((fn) => fn())
    expect([shown.value.state, heard]).toEqual([2, [1, 1, 2, 2]])
    stops.forEach((stop) => stop())
    known.dispose()
    expect([told.size, live.close.mock.calls.length]).toEqual([1, 1])
  })

  test('Angular: begun once rendered, outside its zone, and closed with the component', async () => {
    // Its names are given below, and stay as they are.
    const { code } = transformSync(blocks('ts')[0], { loader: 'ts', tsconfigRaw: { compilerOptions: { experimentalDecorators: true } } })
    const live = { get: () => snapshot, subscribe: (fn) => (tell = fn), close: vi.fn() }
    let [snapshot, tell, zone, render, destroy, made, shown] = [{ state: 1, status: 'live' }]
    const runOutsideAngular = (fn) => {
      const before = zone
      zone = 'outside'
      const got = fn()
      zone = before
      return got
    }
    const [NgZone, DestroyRef] = [{ runOutsideAngular }, { onDestroy: (fn) => (destroy = fn) }]
    const begin = vi.fn(() => [live, zone])
    await run(`${code.replace(/^import .*$/gm, '').replaceAll('export ', '')}\nshow(angularLive(begin))`, {
      ...{ NgZone, DestroyRef, Injectable: () => (service) => service, url: 'http://live.test', token: 'jwt' },
      inject: (what) => (typeof what === 'function' ? (made ??= new what()) : what),
      afterNextRender: (fn) => (render = fn),
      signal: (value) => Object.assign(() => value, { set: (next) => (value = next), asReadonly() { return this } }),
      connect: (options) => [rowcastClient.connect(options), zone],
      begin: (rowcast) => begin(rowcast)[0],
      show: (now) => (shown = now),
    })
    expect([opened, shown()]).toEqual([undefined, { state: undefined, status: 'loading' }])
    render()
    expect([made.connection, begin.mock.lastCall, begin.mock.results[0].value[1], shown().state]).toEqual([[opened, 'outside'], [made.connection], 'outside', 1])
    snapshot = { state: 2, status: 'live' }
    tell()
    expect(shown().state).toBe(2)
    destroy()
    expect(live.close).toHaveBeenCalledOnce()
  })

  test('a page that the server has rendered', async () => {
    const [page] = blocks('html')
    const bookmark = page.match(/data-bookmark="(.*?)"/)[1]
    const known = { add: vi.fn(), location: { origin: 'http://live.test', reload: vi.fn() }, document: { body: { dataset: { bookmark } } } }
    await run(page.match(/<script type="module">([^]*)<\/script>/)[1], { rowcastClient, ...known })
    await settle()
    expect(fake.socket.query('since')).toBe(bookmark)
    fake.socket.say(welcome(), resumed, event(1, { name: 'order:created' }), { type: 'gap', rooms: ['*'], reason: 'horizon' })
    expect(known.add).toHaveBeenCalledWith({ id: 1 })
    expect(known.location.reload).toHaveBeenCalledOnce()
  })
})
