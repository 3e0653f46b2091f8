// @ts-nocheck
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import * as React from 'react'
import { act, createElement, StrictMode, useLayoutEffect, version } from 'react'
import { createRoot } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { connect, event, pass, server, welcome } from './fake.js'

const { RowcastProvider, useLive, useRoom, useRowcast, useStatus } = await import(process.env.ROWCAST_CLIENT_DIST ? '../dist/react.js' : '../src/react.js')

let fake
let ears
let roots
beforeEach(() => {
  vi.useFakeTimers()
  globalThis.IS_REACT_ACT_ENVIRONMENT = true
  fake = server()
  roots = []
  ears = []
  const { addEventListener } = globalThis
  vi.spyOn(globalThis, 'addEventListener').mockImplementation((name, fn, how) => {
    if (how?.signal) {
      ears.push(name)
      how.signal.addEventListener('abort', () => ears.splice(ears.indexOf(name), 1))
    }
    addEventListener.call(globalThis, name, fn, how)
  })
})
afterEach(async () => {
  for (const root of roots) await act(() => root.unmount())
  vi.useRealTimers()
})

const h = createElement
const options = () => ({ url: 'http://live.test', token: 'jwt', WebSocket: fake.WebSocket, fetch: fake.fetch, storage: null })
const own = (...children) => h(RowcastProvider, { options: options() }, ...children)

/** Renders; what it returns renders anew, in the same place, or unmounts. */
async function render(element) {
  const place = document.createElement('div')
  const root = createRoot(place)
  roots.push(root)
  const show = (next) => act(async () => root.render(next))
  await show(element)
  return { text: () => place.textContent, show, unmount: () => act(async () => root.unmount()) }
}
const turn = (fn = () => {}) => act(async () => {
  fn()
  await pass(0)
})
const open = () => fake.sockets.filter((socket) => !socket.wasClosed)
/** What the server holds a socket to be in, of what it said in frames. */
const joined = (socket) => socket.sent.reduce((rooms, { type, rooms: named = [] }) => {
  for (const room of named) rooms[type === 'subscribe' ? 'add' : 'delete'](room)
  return rooms
}, new Set(socket.query('rooms')?.split(',')))
const answer = (socket, more = {}) => {
  const { id, rooms } = socket.said('subscribe').at(-1)
  socket.say({ type: 'subscribed', id, rooms, outcome: 'live', count: 0, bookmark: 'h.1_0', ...more })
}

/** A connection of the application's, live. */
async function liveConnection() {
  const connection = connect(options())
  await turn()
  await turn(() => fake.socket.say(welcome()))
  return connection
}

test(`it is React ${process.env.ROWCAST_REACT} that is tested`, () => {
  expect(version.split('.')[0]).toBe(process.env.ROWCAST_REACT)
})

test('strict mode leaves one connection, one place in each room and one load; unmounting leaves nothing', async () => {
  const heard = []
  function Page() {
    useRoom('lab:1', { thing: ({ id }) => heard.push(id) })
    const { state, status } = useLive('week', 'lab:2', (sum, { data }) => sum + data.id)
    return `${useStatus().status} ${status} ${state}`
  }
  const page = await render(h(StrictMode, null, own(h(Page))))
  await turn()
  expect(open()).toHaveLength(1)
  expect(page.text()).toBe('connecting loading undefined')
  const socket = fake.socket
  await turn(() => socket.say(welcome({ rooms: ['user:1', 'lab:1'] })))
  for (const request of fake.to('/call/week')) await turn(() => request.json({ data: 0, bookmark: 'h.1_0' }))
  await turn()
  await turn(() => answer(socket))
  expect(page.text()).toBe('live live 0')
  expect([...joined(socket)].sort()).toEqual(['lab:1', 'lab:2'])
  await turn(() => socket.say(event(5)))
  expect(heard).toEqual([5])
  expect(page.text()).toBe('live live 5')
  expect(open()).toEqual([socket])

  await page.unmount()
  await turn()
  expect(open()).toEqual([])
  expect(ears).toEqual([])
  expect(vi.getTimerCount()).toBe(0)
  socket.onmessage?.({ data: JSON.stringify(event(6)) })
  expect(heard).toEqual([5])
  await pass(600_000)
  expect(open()).toEqual([])
})

test('a connection of the application outlives its provider; its rooms and handlers do not', async () => {
  const connection = await liveConnection()
  const handler = vi.fn()
  function Room({ name }) {
    const outcome = useRoom(name, { '*': handler })
    return outcome?.outcome ?? 'asked'
  }
  const page = await render(h(StrictMode, null, h(RowcastProvider, { connection, options: options() }, h(Room, { name: 'a' }), h(Room, { name: 'b' }))))
  await turn()
  expect(fake.sockets).toHaveLength(1)
  expect(page.text()).toBe('askedasked')
  expect([...joined(fake.socket)]).toEqual(['a', 'b'])
  await turn(() => answer(fake.socket))
  expect(page.text()).toBe('livelive')
  await turn(() => fake.socket.say(event(1)))
  expect(handler).toHaveBeenCalledTimes(2)
  await page.unmount()
  await turn()
  expect([...joined(fake.socket)]).toEqual([])
  fake.socket.say(event(2))
  expect(handler).toHaveBeenCalledTimes(2)
  expect(connection.status).toBe('live')
  await turn(() => connection.close())
})

test('a room is held as long as one component wants it, and another name is another room', async () => {
  const connection = await liveConnection()
  const Room = ({ name }) => String(useRoom(name)?.outcome)
  const both = (...names) => h(RowcastProvider, { connection }, names.map((name, index) => h(Room, { key: index, name })))
  const page = await render(both('a', 'a'))
  await turn(() => answer(fake.socket))
  await page.show(both('a'))
  await turn()
  expect([...joined(fake.socket)]).toEqual(['a'])
  await page.show(both('b'))
  expect(page.text()).toBe('undefined')
  await turn(() => answer(fake.socket))
  expect([...joined(fake.socket)]).toEqual(['b'])
  expect(page.text()).toBe('live')
  await turn(() => connection.close())
})

test('a room that is refused is told, and so is a subscribe that fails', async () => {
  const connection = await liveConnection()
  const Room = ({ name }) => {
    const outcome = useRoom(name)
    return outcome?.error?.code ?? outcome?.refused[0]?.code ?? 'asked'
  }
  const page = await render(h(RowcastProvider, { connection }, h(Room, { name: 'a' })))
  await turn(() => answer(fake.socket, { rooms: [] }))
  expect(page.text()).toBe('forbidden')
  await page.show(h(RowcastProvider, { connection }, h(Room, { name: 'b' })))
  await turn(() => fake.socket.say({ type: 'error', id: fake.socket.said('subscribe').at(-1).id, code: 'too-many-rooms', message: '' }))
  expect(page.text()).toBe('too-many-rooms')
  await turn(() => connection.close())
})

test('handlers are those of the last render, from its commit on', async () => {
  const connection = await liveConnection()
  const heard = []
  const errors = vi.fn()
  connection.on('error', errors)
  function Room({ word }) {
    // At its commit, before React runs other effects.
    useLayoutEffect(() => void (word === 'second' && fake.socket.say(event(9))), [word])
    useRoom('a', { thing: ({ id }) => heard.push(`${word} ${id}`), constructor: () => heard.push('constructor') })
    return word
  }
  const page = await render(h(RowcastProvider, { connection }, h(Room, { word: 'first' })))
  await turn(() => fake.socket.say(event(1)))
  await page.show(h(RowcastProvider, { connection }, h(Room, { word: 'second' })))
  await turn(() => fake.socket.say(event(2), event(3, { name: '__defineGetter__' })))
  expect(heard).toEqual(['first 1', 'second 9', 'second 2'])
  expect(errors).not.toHaveBeenCalled()
  expect(fake.socket.said('subscribe')).toHaveLength(1)
  await turn(() => connection.close())
})

test('useLive: each event shows, with the reducer of the last render, and a new call loads anew', async () => {
  const connection = await liveConnection()
  const shown = []
  function Week({ lab, by = 1, extra = 0 }) {
    const { state, status, error } = useLive(['week', { lab }], `lab:${lab}`, (sum, { data }) => sum + by * data.id, [extra])
    shown.push(state)
    return `${status} ${error?.code ?? state}`
  }
  const week = (props) => h(RowcastProvider, { connection }, h(Week, props))
  const load = async (data) => {
    await turn(() => fake.socket.say({ type: 'result', id: fake.socket.said('call').at(-1).id, data, bookmark: 'h.1_0' }))
    await turn(() => answer(fake.socket))
  }
  const page = await render(week({ lab: 1 }))
  await load(10)
  expect(page.text()).toBe('live 10')
  await turn(() => fake.socket.say(event(1)))
  expect(page.text()).toBe('live 11')
  await page.show(week({ lab: 1, by: 100 }))
  await turn(() => fake.socket.say(event(2)))
  expect(page.text()).toBe('live 211')
  expect(fake.socket.said('call')).toHaveLength(1)

  await page.show(week({ lab: 2 }))
  expect(page.text()).toBe('loading undefined')
  await load(20)
  expect(page.text()).toBe('live 20')
  expect([...joined(fake.socket)]).toEqual(['lab:2'])

  shown.length = 0
  await page.show(week({ lab: 2, extra: 1 }))
  expect(shown).not.toContain(20)
  await turn(() => fake.socket.say({ type: 'error', id: fake.socket.said('call').at(-1).id, code: 'no-such-function', message: '' }))
  expect(page.text()).toBe('failed no-such-function')
  await page.unmount()
  await turn()
  expect([...joined(fake.socket)]).toEqual([])
  await turn(() => connection.close())
})

test('useLive: live for ever: a room that is taken away shows', async () => {
  const connection = await liveConnection()
  connection.on('error', () => {})
  function Week() {
    const { state, status, error } = useLive('week', 'lab:1', (sum) => sum)
    return `${status} ${state} ${error?.code}`
  }
  const page = await render(h(RowcastProvider, { connection }, h(Week)))
  await turn(() => fake.socket.say({ type: 'result', id: fake.socket.said('call').at(-1).id, data: 10, bookmark: 'h.1_0' }))
  await turn(() => answer(fake.socket))
  expect(page.text()).toBe('live 10 undefined')
  await turn(() => fake.socket.say({ type: 'error', code: 'forbidden', message: '', room: 'lab:1' }))
  expect(page.text()).toBe('failed 10 forbidden')
  await turn(() => connection.close())
})

test('options may come later, and a token is asked of the last render', async () => {
  let rowcast
  const Again = () => void (rowcast = useRowcast()) ?? null
  const Late = ({ user }) => h(RowcastProvider, user ? { options: { ...options(), token: () => user } } : {}, user && h(Again))
  const page = await render(h(Late, {}))
  expect(fake.sockets).toHaveLength(0)
  await page.show(h(Late, { user: 'ann' }))
  await turn()
  expect(fake.socket.protocols).toContain('bearer.ann')
  await page.show(h(Late, { user: 'bob' }))
  expect(fake.sockets).toHaveLength(1)
  await turn(() => rowcast.reconnect())
  expect(fake.socket.protocols).toContain('bearer.bob')
})

test('useLive: a function that loads is the last render’s, for reload() too', async () => {
  const loaded = []
  const load = (filter) => async () => {
    loaded.push(filter)
    return { data: filter, bookmark: 'h.1_0' }
  }
  let again
  const Part = ({ filter }) => {
    const { reload } = useLive(load(filter), 'a', (state) => state)
    again = reload
    return null
  }
  const page = await render(own(h(Part, { filter: 'first' })))
  await turn()
  await page.show(own(h(Part, { filter: 'second' })))
  await turn(() => again())
  expect(loaded).toEqual(['first', 'second'])
})

test('useLive: reload() loads anew, and a load that is unmounted asks for nothing more', async () => {
  const connection = await liveConnection()
  let again
  function Week() {
    const { status, reload } = useLive('week', 'a', (sum) => sum)
    again = reload
    return status
  }
  const page = await render(h(RowcastProvider, { connection }, h(Week)))
  await turn(() => again())
  expect(fake.socket.said('call')).toHaveLength(2)
  await page.unmount()
  await turn(() => fake.socket.say({ type: 'result', id: fake.socket.said('call').at(-1).id, data: 1, bookmark: 'h.1_0' }))
  expect(fake.socket.said('subscribe')).toEqual([])
  await turn(() => connection.close())
})

// React 18 knows no Activity.
if (React.Activity) test('useLive: false live: what was hidden does not show what it had before as live', async () => {
  const connection = await liveConnection()
  const shown = []
  function Week() {
    const { state, status } = useLive('week', 'lab:1', (sum, { data }) => sum + data.id)
    shown.push(status)
    return `${status} ${state}`
  }
  const within = (mode) => h(RowcastProvider, { connection }, h(React.Activity, { mode }, h(Week)))
  async function load(data) {
    await turn(() => fake.socket.say({ type: 'result', id: fake.socket.said('call').at(-1).id, data, bookmark: 'h.1_0' }))
    await turn(() => answer(fake.socket))
  }
  const page = await render(within('visible'))
  await load(1)
  expect(page.text()).toBe('live 1')
  await page.show(within('hidden'))
  await turn()
  shown.length = 0
  await page.show(within('visible'))
  expect(new Set(shown)).toEqual(new Set(['loading']))
  await load(7)
  expect(page.text()).toBe('live 7')
  await turn(() => connection.close())
})

test('useStatus follows the connection', async () => {
  const Badge = () => {
    const { status, reason } = useStatus()
    return `${status} ${reason}`
  }
  const page = await render(own(h(Badge)))
  await turn()
  expect(page.text()).toBe('connecting connecting')
  await turn(() => fake.socket.say(welcome()))
  expect(page.text()).toBe('live ')
  await turn(() => fake.socket.cut(4004, 'because'))
  expect(page.text()).toBe('refused because')
})

test('on a server it renders without beginning anything, as the client will at first', async () => {
  const connection = await liveConnection()
  function Page() {
    useRoom('a', { thing: () => {} })
    const { state, status } = useLive('week', 'b', (sum) => sum)
    return `${useStatus().status} ${status} ${state}`
  }
  const before = fake.sockets.length
  const html = renderToString(own(h(Page)))
  expect(html).toBe('connecting loading undefined')
  // A browser that is live already shows the same while it hydrates.
  expect(renderToString(h(RowcastProvider, { connection }, h(Page)))).toBe(html)
  await pass(20_000)
  expect(fake.sockets.length - before).toBe(0)
  expect(fake.requests).toEqual([])
  await turn(() => connection.close())
})

test('without a provider, or with an empty one, it says what is missing', async () => {
  const Page = () => useRowcast().status
  vi.spyOn(console, 'error').mockImplementation(() => {})
  expect(() => renderToString(h(Page))).toThrow('RowcastProvider')
  expect(() => renderToString(h(RowcastProvider, null, h(Page)))).toThrow('RowcastProvider')
})

test('the example of the README runs as it stands', async () => {
  const [, code] = readFileSync('README.md', 'utf8').match(/```jsx\n([^]*?)```/)
  const input = code.replace(/import (\{.*\}) from '.*'/, 'const $1 = hooks')
  const plain = execFileSync('node_modules/.bin/esbuild', ['--loader=jsx'], { input, encoding: 'utf8' })
  const known = {
    hooks: { RowcastProvider: ({ options, children }) => h(RowcastProvider, { options: { ...options, WebSocket: fake.WebSocket, fetch: fake.fetch, storage: null } }, children), useLive, useRoom, useStatus },
    React: { createElement },
    url: 'http://live.test',
    token: 'jwt',
    reduce: (rows, event) => [...rows, event.data.bookingId],
    toast: vi.fn(),
    Table: ({ rows, stale }) => `${rows?.join() ?? 'nothing'}${stale ? ' (stale)' : ''}`,
  }
  const App = new Function(...Object.keys(known), `${plain}\nreturn App`)(...Object.values(known))
  const { text } = await render(h(App))
  expect(text()).toBe('nothing (stale)')
  await turn(() => fake.socket.say(welcome()))
  // It is loaded before there is a link.
  const [call] = fake.to('/call/lab_week')
  expect(JSON.parse(call.options.body)).toEqual({ lab: 1 })
  await turn(() => call.json({ data: [1], bookmark: 'h.1_0' }))
  await turn(() => answer(fake.socket, { outcome: 'recovered' }))
  await turn(() => fake.socket.say(event(2, { name: 'booking:created', data: { bookingId: 2 } })))
  expect(text()).toBe('1,2')
  expect(known.toast).toHaveBeenCalledWith(2)
  await turn(() => fake.socket.cut())
  expect(text()).toBe('1,2 (stale)')
})
