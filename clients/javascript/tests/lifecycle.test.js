// What happens to a page besides its links: sleep, deploys, hidden tabs, and its own end.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { event, listeners, live, open, pass, server, settle, storage, turns, welcome } from './fake.js'

let fake
let ears
beforeEach(() => {
  vi.useFakeTimers()
  ears = listeners()
  fake = server()
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

const refuseSockets = () => (fake.onsocket = (socket) => queueMicrotask(() => socket.cut()))
const answer = { outcome: 'live', rooms: [], events: [], bookmark: 'h.1_0' }

describe('a server that says when', () => {
  test.each([
    ['seconds', () => '60'],
    ['a date', () => new Date(Date.now() + 60_000).toUTCString()],
  ])('by a 503 to all, in %s, is not asked before, however often it says so', async (_, when) => {
    refuseSockets()
    fake.onrequest = (request) => request.status(503, 'deploying', { 'retry-after': when() })
    const { connection } = open(fake)
    for (let i = 0; i < 600; i++) await pass(1000)
    const asked = fake.requests.map(({ at }) => at)
    expect(asked.length).toBeGreaterThan(8)
    // Of a date the milliseconds are lost.
    for (const [index, at] of asked.slice(1).entries()) expect(at - asked[index]).toBeGreaterThanOrEqual(59_000)
    expect(fake.sockets.length).toBeLessThanOrEqual(asked.length + 1)
    expect(connection.reason).toBe('the server answered 503')
    connection.close()
  })

  test('while a stream is to be opened anew for a room: the stream goes on, and it is obeyed', async () => {
    const { connection } = open(fake, { transports: ['sse'] })
    await turns()
    const stream = fake.request.stream()
    stream.frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    await pass(6000)
    connection.subscribe('a').catch(() => {})
    await turns()
    fake.request.json({ error: { code: 'overloaded', message: 'later', retryMs: 20_000 } }, 503)
    await turns()
    await pass(19_900)
    expect([connection.status, fake.requests.length]).toEqual(['live', 2])
    await pass(200)
    expect([fake.requests.length, fake.request.query('rooms')]).toEqual([3, 'a'])
    connection.close()
  })
})

describe('a better transport', () => {
  const polling = async () => {
    const opened = open(fake, { storage: storage({ 'rowcast:http://live.test': 'poll' }) })
    await turns()
    fake.request.json(answer)
    await turns()
    expect([opened.connection.transport, opened.connection.status]).toEqual(['poll', 'live'])
    return opened
  }

  test('takes the place of polls by itself', async () => {
    const { connection, told } = await polling()
    fake.onsocket = (socket) => queueMicrotask(() => socket.say(welcome({ heartbeat: 0 }), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 1 }, event(7)))
    await pass(15_000)
    await turns()
    expect([connection.transport, connection.status]).toEqual(['websocket', 'live'])
    expect(fake.socket.query('since')).toBe('h.1_0')
    expect(fake.to('/poll').at(-1).wasAborted).toBe(true)
    expect([told.events, told.statuses.includes('recovering')]).toEqual([['7'], false])
    connection.close()
  })

  test('is the second best where the best is blocked', async () => {
    const { connection } = await polling()
    refuseSockets()
    await pass(15_000)
    await turns()
    const stream = fake.to('/sse')[0].stream()
    stream.frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    stream.frame('rowcast:subscribed', { type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    await turns()
    expect([connection.transport, connection.status]).toEqual(['sse', 'live'])
    connection.close()
  })
})

describe('a page', () => {
  test('that nobody sees renews its token, though its timers run once a minute', async () => {
    const { setTimeout } = globalThis
    vi.stubGlobal('setTimeout', (fn, ms) => setTimeout(fn, Math.ceil((Date.now() + ms) / 60_000) * 60_000 - Date.now()))
    vi.setSystemTime(Math.ceil(Date.now() / 60_000) * 60_000 + 50_000)
    let number = 0
    const expiresAt = Math.floor(Date.now() / 1000) + 3600
    const { socket, connection } = await live(fake, { token: async () => `t${++number}` }, { expiresAt, heartbeat: 0 })
    await pass(3_599_000)
    expect(socket.said('auth').map(({ token }) => token)).toContain('t2')
    connection.close()
  })

  test('that loses its network says so within seconds, and stays live if it was another network', async () => {
    const { connection, socket } = await live(fake, { transports: ['websocket'] })
    await pass(100)
    ears.offline()
    expect(socket.said('ping')).toHaveLength(1)
    await pass(100)
    socket.say({ type: 'pong' })
    await pass(10_000)
    expect(connection.status).toBe('live')
    vi.stubGlobal('navigator', { onLine: false })
    ears.offline()
    await pass(6100)
    expect(connection.status).toBe('offline')
    connection.close()
  })

  test('that loses its network between two attempts does not make one of it', async () => {
    const { connection, socket } = await live(fake, { transports: ['websocket'], retryMin: 600_000, retryMax: 600_000 })
    socket.cut()
    await pass(2000)
    vi.stubGlobal('navigator', { onLine: false })
    ears.offline()
    await pass(2000)
    expect(fake.sockets).toHaveLength(1)
    vi.stubGlobal('navigator', { onLine: true })
    ears.online()
    await settle()
    expect(fake.sockets).toHaveLength(2)
    connection.close()
  })

  test('whose server is down does not seem to come back at each attempt', async () => {
    const { connection, socket, told } = await live(fake, { transports: ['websocket'] })
    refuseSockets()
    socket.cut()
    await vi.waitUntil(() => connection.status === 'offline')
    const before = told.statuses.length
    await pass(60_000)
    expect(fake.sockets.length).toBeGreaterThan(4)
    expect([...new Set(told.statuses.slice(before - 1))]).toEqual(['offline'])
    // It can be reached: only the time is not yet.
    fake.sockets.at(-1).cut(1012, '5000')
    fake.onsocket = (next) => queueMicrotask(() => next.cut(1012, '5000'))
    await pass(40_000)
    expect([connection.status, connection.reason]).toEqual(['recovering', 'restart'])
    connection.reconnect()
    expect(connection.status).toBe('recovering')
    connection.close()
  })

  test('that has no network does not seem to come back at each attempt', async () => {
    vi.stubGlobal('navigator', { onLine: false })
    const { connection, socket, told } = await live(fake, { transports: ['websocket'] })
    refuseSockets()
    socket.cut()
    const before = told.statuses.length
    await pass(60_000)
    expect(fake.sockets.length).toBeGreaterThan(4)
    expect([...new Set(told.statuses.slice(before - 1))]).toEqual(['offline'])
    connection.close()
  })

  test('that is hidden asks nothing, and when it is seen again whether its link lives', async () => {
    vi.stubGlobal('document', { hidden: true })
    const { connection, socket } = await live(fake)
    ears.visibilitychange()
    expect(socket.said('ping')).toEqual([])
    document.hidden = false
    ears.visibilitychange()
    expect(socket.said('ping')).toHaveLength(1)
    connection.close()
  })

  test('that was frozen hears what waited before it gives up its link, and is back in seconds if that is dead', async () => {
    const { connection, socket } = await live(fake)
    await pass(6000)
    // Timers stand still, and so does everything else but the clock.
    vi.setSystemTime(Date.now() + 3_600_000)
    ears.pageshow()
    socket.say({ type: 'pong' })
    await pass(5000)
    expect([connection.status, fake.sockets.length]).toEqual(['live', 1])
    vi.setSystemTime(Date.now() + 3_600_000)
    ears.pageshow()
    await pass(4000)
    expect(fake.sockets).toHaveLength(2)
    connection.close()
  })
})

describe('unsubscribe()', () => {
  test('during a resume: the replay is counted to its end, and the room is not asked for again', async () => {
    const { connection, told, socket } = await live(fake, { rooms: ['a', 'b'] })
    await pass(6000)
    socket.cut()
    await pass(600)
    fake.socket.say(welcome({ rooms: ['user:1', 'a', 'b'] }), { type: 'subscribed', rooms: ['user:1', 'a', 'b'], outcome: 'recovered', count: 2 }, event(1))
    connection.unsubscribe('b')
    await settle()
    expect(fake.socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['b'] }])
    expect(connection.status).toBe('recovering')
    fake.socket.say(event(2))
    expect([connection.status, told.events]).toEqual(['live', ['1', '2']])
    fake.socket.cut()
    await pass(2000)
    expect(fake.socket.query('rooms')).toBe('a')
    connection.close()
  })
})

describe('close()', () => {
  test.each(['sse', 'poll'])('while %s is being opened: the request ends, and its answer is nothing', async (transport) => {
    const { connection, told } = open(fake, { transports: [transport] })
    await turns()
    connection.close()
    expect(fake.request.wasAborted).toBe(true)
    await pass(60_000)
    expect([fake.requests.length, told.statuses.at(-1), vi.getTimerCount()]).toEqual([1, 'offline', 0])
  })

  test('while a file is loaded that a transport comes in: nothing is asked', async () => {
    const { connection } = open(fake, { transports: ['sse'] })
    await Promise.resolve()
    connection.close()
    await turns()
    expect([fake.requests.length, vi.getTimerCount()]).toEqual([0, 0])
  })

  test('leaves no timer of a live state that waits, or is being loaded; it goes on with reconnect()', async () => {
    const { connection } = await live(fake)
    const waiting = connection.live('week', 'a', (state) => state)
    await settle()
    fake.socket.said('call').forEach(({ id }) => fake.socket.say({ type: 'error', id, code: 'overloaded', message: '' }))
    const loading = connection.live('week', 'a', (state) => state)
    await settle()
    connection.close()
    await turns()
    expect([waiting.status, loading.status, vi.getTimerCount()]).toEqual(['loading', 'loading', 0])
    connection.reconnect()
    await settle()
    fake.socket.say(welcome(), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    await settle()
    expect(fake.socket.said('call')).toHaveLength(2)
    connection.close()
    await turns()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('leaves no timer of an acknowledgement that was not stored; it is told after reconnect()', async () => {
    const { connection, socket } = await live(fake, { reader: 'r', since: 'h.0_0' })
    socket.say({ type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    const stored = connection.ack('h.1_0.7')
    await settle()
    expect(socket.said('ack')).toHaveLength(1)
    connection.close()
    await turns()
    expect(vi.getTimerCount()).toBe(0)
    connection.reconnect()
    await settle()
    fake.socket.say(welcome(), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    await settle()
    const [{ id, bookmark }] = fake.socket.said('ack')
    fake.socket.say({ type: 'acked', id, bookmark })
    expect(await stored).toBe('h.1_0.7')
    connection.close()
  })

  test('leaves no timer of an acknowledgement that waits for its next attempt', async () => {
    const { connection } = await live(fake, { reader: 'r', since: 'h.0_0' })
    fake.socket.say({ type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    void connection.ack('h.1_0.7')
    await settle()
    fake.socket.say({ type: 'error', id: fake.socket.said('ack')[0].id, code: 'overloaded', message: '', retryMs: 60_000 })
    await settle()
    connection.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('leaves no timer of what is to be said again to a busy server', async () => {
    const { connection, socket } = await live(fake)
    connection.subscribe('a').catch(() => {})
    await settle()
    socket.say({ type: 'error', code: 'rate-limited', message: 'at most 50 messages a second' })
    connection.close()
    await settle()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('of a socket that has not opened: its error is heard, for one that nobody hears ends a process of Node', async () => {
    const { connection } = open(fake)
    await settle()
    connection.close()
    expect(fake.socket.onerror).toBeTypeOf('function')
    expect([fake.socket.onmessage, fake.socket.onclose]).toEqual([null, null])
  })
})

test('what can only be a mistake is told with what was given', () => {
  expect(() => open(fake, { url: 'live.example' })).toThrow('bad url or transports: live.example websocket,sse,poll')
  expect(() => open(fake, { transports: ['ws', 'poll'] })).toThrow('ws,poll')
  expect(() => open(fake, { transports: [] })).toThrow(TypeError)
  // As in Node 20, where nothing else is wrong with it.
  expect(() => open(fake, { transports: ['websocket'], WebSocket: null })).toThrow('websocket, and there is no WebSocket here')
})
