import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { event, live, open, pass, server, settle, turns, welcome } from './fake.js'

let fake
beforeEach(() => {
  vi.useFakeTimers()
  fake = server()
})
afterEach(() => vi.useRealTimers())

const reduce = (state, { id }) => [...state, Number(id)]
const recovered = (more = {}) => ({ type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 0, bookmark: 'h.1_0', ...more })
const answerCall = (socket, data, bookmark) => socket.say({ type: 'result', id: socket.said('call').at(-1).id, data, bookmark })
const answerSubscribe = (socket, more = {}) => {
  const { id, rooms } = socket.said('subscribe').at(-1)
  socket.say({ type: 'subscribed', id, rooms, outcome: 'recovered', count: 0, bookmark: 'h.5_0', ...more })
}

async function loaded(first = []) {
  const opened = await live(fake)
  const one = opened.connection.live(['week', { lab: 1 }], 'lab:1', reduce)
  await settle()
  answerCall(opened.socket, first, 'h.5_0')
  await settle()
  return { ...opened, one }
}

test('state by a call, then events from exactly its bookmark: none missing, none twice', async () => {
  const { socket, one, told } = await loaded([1, 2])
  expect(socket.said('subscribe')[0]).toMatchObject({ rooms: ['lab:1'], since: 'h.5_0', again: true })
  // These came through another room while it loaded: 2 is in the state, 3 is not.
  socket.say(event(2), event(3))
  expect(one.get()).toEqual({ state: undefined, status: 'loading' })
  answerSubscribe(socket, { count: 2 })
  socket.say(event(3))
  expect(one.status).toBe('loading')
  socket.say(event(4), event(5), event(3))
  expect(one.get()).toMatchObject({ state: [1, 2, 3, 4, 5], status: 'live' })
  expect(told.events).toEqual(['2', '3', '4', '5'])
})

test('twice applied: what the replay of one state brings, another has that was loaded later', async () => {
  const { connection, socket, told } = await live(fake)
  const [one, two] = ['a', 'b'].map((room) => connection.live(room, room, reduce))
  const [first, second] = socket.said('call')
  // Event 6 of both rooms is in the later one of the two, which is answered first.
  socket.say({ type: 'result', id: second.id, data: [5, 6], bookmark: 'h.6_0' })
  await settle()
  socket.say(recovered({ id: 1, rooms: ['b'], bookmark: 'h.6_0' }))
  socket.say({ type: 'result', id: first.id, data: [5], bookmark: 'h.5_0' })
  await settle()
  socket.say(recovered({ id: 2, rooms: ['a'], count: 1, bookmark: 'h.5_0' }), event(6), event(7))
  expect([one.state, two.state]).toEqual([[5, 6, 7], [5, 6, 7]])
  expect(told.events).toEqual(['6', '7'])
})

test('nor is it given what a room brings that is joined from further back', async () => {
  const { connection, socket, told } = await live(fake)
  const one = connection.live('week', 'a', reduce)
  answerCall(socket, [5], 'h.5_0')
  await settle()
  socket.say(recovered({ id: 1, rooms: ['a'], bookmark: 'h.5_0' }))
  const asked = connection.subscribe('b', { since: 'h.0_0' })
  await settle()
  socket.say(recovered({ id: 2, rooms: ['b'], count: 1, bookmark: 'h.0_0' }), event(5), event(6))
  await asked
  expect([one.state, told.events, connection.status]).toEqual([[5, 6], ['5', '6'], 'live'])
})

test('an older event behind a newer one: where a link can not open with all rooms, states are loaded anew behind them', async () => {
  const { connection, socket, one, told } = await loaded([5])
  answerSubscribe(socket, { bookmark: 'h.6_0' })
  connection.subscribe('a'.repeat(4000))
  await settle()
  answerSubscribe(socket, { outcome: 'live' })
  expect(one.status).toBe('live')
  socket.cut()
  await pass(1000)
  fake.socket.say(welcome({ rooms: ['lab:1'] }), recovered({ rooms: ['lab:1'], count: 1 }), event(8))
  await settle()
  expect(one.get()).toMatchObject({ state: [5], status: 'loading' })
  answerSubscribe(fake.socket, { count: 1, bookmark: 'h.6_0' })
  fake.socket.say(event(7))
  await settle()
  answerCall(fake.socket, [5, 7, 8], 'h.9_0')
  await settle()
  answerSubscribe(fake.socket, { bookmark: 'h.9_0' })
  expect([one.state, one.status, told.events]).toEqual([[5, 7, 8], 'live', ['8', '7']])
})

test('an older event behind a newer one: what a link could not open with is asked for before what a state was loaded with', async () => {
  const { connection, socket, one } = await loaded([5])
  answerSubscribe(socket, { bookmark: 'h.6_0' })
  connection.subscribe('a'.repeat(4000))
  await settle()
  answerSubscribe(socket, { outcome: 'live' })
  one.reload()
  answerCall(socket, [5, 7], 'h.9_0')
  await settle()
  socket.cut()
  await pass(1000)
  fake.socket.say(welcome({ rooms: ['lab:1'] }), recovered({ rooms: ['lab:1'] }))
  await settle()
  expect(fake.socket.said('subscribe').map(({ since }) => since)).toEqual(['h.5_0', 'h.9_0'])
  connection.close()
})

test('twice applied: a link that is cut in what another room brings from further back comes back from there, and loads anew', async () => {
  const { connection, socket, one } = await loaded([5])
  answerSubscribe(socket, { bookmark: 'h.6_0' })
  const asked = connection.subscribe('b', { since: 'h.0_0' })
  await settle()
  socket.say(recovered({ id: 2, rooms: ['b'], count: 2, bookmark: 'h.0_0' }), event(1, { bookmark: 'h.0_0.1' }))
  await asked
  socket.cut()
  expect(one.get()).toMatchObject({ state: [5], status: 'loading' })
  await pass(1000)
  expect(fake.socket.query('since')).toBe('h.0_0.1')
  fake.socket.say(welcome({ rooms: ['lab:1', 'b'] }), recovered({ rooms: ['lab:1', 'b'], count: 2, bookmark: 'h.0_0.1' }), event(2), event(5))
  fake.request.json({ data: [5, 6], bookmark: 'h.7_0' })
  await settle()
  answerSubscribe(fake.socket, { bookmark: 'h.7_0' })
  expect(one.get()).toMatchObject({ state: [5, 6], status: 'live' })
})

test('twice applied: so is every state where a link is cut in what one of them lacked', async () => {
  const { connection, socket, one } = await loaded([5])
  answerSubscribe(socket, { bookmark: 'h.6_0' })
  const other = connection.live('month', 'lab:2', reduce)
  await settle()
  answerCall(socket, [], 'h.3_0')
  await settle()
  answerSubscribe(socket, { count: 2, bookmark: 'h.3_0' })
  socket.say(event(4, { bookmark: 'h.3_0.4' }))
  socket.cut()
  expect([one.status, other.status, connection.bookmark]).toEqual(['loading', 'loading', 'h.3_0.4'])
  connection.close()
})

test('nor one that is cut behind that: a heartbeat has brought the place of all rooms again', async () => {
  const { connection, socket, one } = await loaded([5])
  answerSubscribe(socket, { bookmark: 'h.6_0' })
  const asked = connection.subscribe('b', { since: 'h.0_0' })
  await settle()
  socket.say(recovered({ id: 2, rooms: ['b'], count: 1, bookmark: 'h.0_0' }), event(1, { bookmark: 'h.0_0.1' }), { type: 'heartbeat', bookmark: 'h.7_0' })
  await asked
  socket.cut()
  await pass(1000)
  expect([fake.socket.query('since'), one.status, fake.requests]).toEqual(['h.7_0', 'live', []])
})

test('listeners hear of each change, and the snapshot is the same object in between', async () => {
  const { socket, one } = await loaded()
  const heard = vi.fn()
  const off = one.subscribe(heard)
  answerSubscribe(socket)
  const before = one.get()
  expect(one.get()).toBe(before)
  socket.say(event(6))
  expect(one.get()).not.toBe(before)
  off()
  socket.say(event(7))
  expect(heard).toHaveBeenCalledTimes(2)
  expect(one.state).toEqual([6, 7])
})

test('a gap of its rooms loads anew, one of others does not', async () => {
  const { socket, one } = await loaded()
  answerSubscribe(socket)
  socket.say({ type: 'gap', rooms: ['other'], reason: 'trigger', bookmark: 'h.6_0' })
  expect(socket.said('call')).toHaveLength(1)
  socket.say({ type: 'gap', rooms: ['lab:1'], reason: 'trigger', bookmark: 'h.6_0' })
  await settle()
  expect(socket.said('call')).toHaveLength(2)
  expect(one.status).toBe('loading')
  socket.say(event(9))
  answerCall(socket, [9], 'h.7_0')
  await settle()
  answerSubscribe(socket)
  expect(one.get()).toMatchObject({ state: [9], status: 'live' })
  await settle()
  expect(socket.said('unsubscribe')).toEqual([])
})

test('a state that another one’s listener closes at a gap stays closed', async () => {
  const { connection, socket } = await live(fake)
  const call = vi.fn(async () => ({ data: [], bookmark: 'h.5_0' }))
  const [one, two] = ['a', 'b'].map((room) => connection.live(call, room, (state) => state))
  await settle()
  for (const { id, rooms } of socket.said('subscribe')) socket.say(recovered({ id, rooms }))
  await settle()
  expect([one.status, two.status]).toEqual(['live', 'live'])
  one.subscribe(() => two.close())
  socket.say({ type: 'gap', rooms: ['*'], reason: 'trigger', bookmark: 'h.6_0' })
  await settle()
  expect(call).toHaveBeenCalledTimes(3)
  expect(socket.said('subscribe').at(-1).rooms).toEqual(['a'])
  expect(socket.said('unsubscribe')).toMatchObject([{ rooms: ['b'] }])
  connection.close()
})

test('a link that is lost and resumed without a gap loads nothing', async () => {
  const { socket, one } = await loaded([1])
  answerSubscribe(socket)
  socket.say(event(2))
  socket.cut()
  await pass(1000)
  expect(fake.socket.query('rooms')).toBe('lab:1')
  fake.socket.say(welcome(), { type: 'subscribed', rooms: ['lab:1'], outcome: 'recovered', count: 2, bookmark: 'h.1_0.2' }, event(2), event(3))
  await settle()
  expect(one.state).toEqual([1, 2, 3])
  expect(fake.socket.said('call')).toEqual([])
})

test('a link that is lost within its replay loads anew', async () => {
  const { socket, one } = await loaded([1])
  answerSubscribe(socket, { count: 2 })
  socket.say(event(2))
  socket.cut()
  await pass(1000)
  fake.socket.say(welcome(), { type: 'subscribed', rooms: ['lab:1'], outcome: 'recovered', count: 0, bookmark: 'h.1_0' })
  fake.request.json({ data: [1, 2, 3], bookmark: 'h.8_0' })
  await settle()
  answerSubscribe(fake.socket)
  expect(one.get()).toMatchObject({ state: [1, 2, 3], status: 'live' })
})

test('a gap in the answer to its subscribe loads anew, but not in a loop', async () => {
  const { socket } = await loaded()
  for (let i = 0; i < 20; i++) {
    const calls = socket.said('call').length
    answerSubscribe(socket, { outcome: 'gap', reason: 'limit' })
    await settle()
    expect(socket.said('call')).toHaveLength(calls)
    for (let waited = 0; waited < 60 && socket.said('call').length === calls; waited++) await pass(500)
    socket.say({ type: 'heartbeat', bookmark: 'h.5_0' })
    expect(socket.said('call')).toHaveLength(calls + 1)
    answerCall(socket, [], 'h.5_0')
    await settle()
  }
})

test('what passes is tried again, what does not fails until reload()', async () => {
  const { connection, socket } = await live(fake)
  const one = connection.live('week', ['lab:1'], reduce)
  const fail = (code) => socket.say({ type: 'error', id: socket.said('call').at(-1).id, code, message: code })
  fail('overloaded')
  await pass(1000)
  expect(socket.said('call')).toHaveLength(2)
  fail('no-such-function')
  await pass(60)
  expect(one.get()).toMatchObject({ status: 'failed', error: { code: 'no-such-function' } })
  await pass(20_000)
  expect(socket.said('call')).toHaveLength(2)
  one.reload()
  expect(socket.said('call')).toHaveLength(3)
})

test('a room that is refused fails it', async () => {
  const { socket, one } = await loaded()
  const { id } = socket.said('subscribe')[0]
  socket.say({ type: 'error', id, code: 'forbidden', message: 'no', room: 'lab:1' }, { type: 'subscribed', id, rooms: [], outcome: 'recovered', count: 0, bookmark: 'h' })
  await settle()
  expect(one.get()).toMatchObject({ status: 'failed', error: { code: 'forbidden', room: 'lab:1' } })
})

test.each([
  ['taken away', async (socket, error) => socket.say(error)],
  ['lost with a new token', async (socket, error) => socket.say({ ...error, id: 'auth' }, { type: 'authenticated', id: 'auth' })],
  [
    'refused when the link comes back',
    async (socket, error) => {
      socket.cut()
      await pass(1000)
      fake.socket.say(welcome(), error, { type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 0, bookmark: 'h.6_0' })
    },
  ],
])('live for ever: a room that is %s fails it until reload()', async (_, happens) => {
  const { connection, socket, one, told } = await loaded([1])
  answerSubscribe(socket)
  expect(one.status).toBe('live')
  const error = { type: 'error', code: 'forbidden', message: 'no such room for you' }
  socket.say({ ...error, room: 'lab:2' })
  expect(one.status).toBe('live')
  await happens(socket, { ...error, room: 'lab:1' })
  expect(one.get()).toMatchObject({ state: [1], status: 'failed', error: { code: 'forbidden', room: 'lab:1' } })
  expect(told.errors.map(({ room }) => room)).toEqual(['lab:2', 'lab:1'])
  fake.socket.say(event(8))
  await pass(20_000)
  expect([one.state, connection.status, fake.socket.said('call').length]).toEqual([[1], 'live', socket === fake.socket ? 1 : 0])
  one.reload()
  answerCall(fake.socket, [1, 8], 'h.7_0')
  await settle()
  expect(fake.socket.said('subscribe').at(-1).rooms).toEqual(['lab:1'])
  answerSubscribe(fake.socket)
  expect(one.get()).toMatchObject({ state: [1, 8], status: 'live', error: undefined })
})

test('live for ever: a room that a stream has no way to ask for waits for a WebSocket', async () => {
  const long = 'a'.repeat(4000)
  const { connection, socket, told } = await live(fake, { transports: ['websocket', 'sse'], rooms: [long] }, {})
  answerSubscribe(socket, { outcome: 'live' })
  const one = connection.live('week', long, reduce)
  answerCall(socket, [1], 'h.5_0')
  await settle()
  answerSubscribe(socket)
  expect(one.status).toBe('live')
  await pass(6000)
  fake.onsocket = (opened) => queueMicrotask(() => opened.cut())
  socket.cut()
  answersAtOnce()
  await pass(5000)
  await turns()
  expect(told.errors).toMatchObject([{ code: 'unavailable', room: long }])
  expect([connection.status, connection.transport, one.status]).toEqual(['live', 'sse', 'loading'])
  const before = fake.requests.length
  fake.onsocket = undefined
  while (fake.socket.wasClosed || fake.socket.readyState === 3) await pass(1000)
  // What it can't get there it does not ask for there.
  expect(fake.requests.length).toBe(before)
  fake.socket.say(welcome(), { type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 0, bookmark: 'h.7_0' })
  await settle()
  answerCall(fake.socket, [1, 2], 'h.7_0')
  await settle()
  answerSubscribe(fake.socket, { bookmark: 'h.7_0' })
  expect([connection.transport, one.status, one.state]).toEqual(['websocket', 'live', [1, 2]])
  connection.close()
})

test('a reduce that throws does not stop it', async () => {
  const { connection, socket, told } = await live(fake)
  const one = connection.live(async () => ({ data: 0, bookmark: 'h.5_0' }), 'a', (state, { id }) => {
    if (id === '1') throw new Error('mine')
    return state + 1
  })
  await settle()
  answerSubscribe(socket)
  socket.say(event(1), event(2))
  expect([one.state, told.errors.length]).toEqual([1, 1])
})

test('close() leaves its rooms and applies nothing more', async () => {
  const { socket, one } = await loaded()
  answerSubscribe(socket)
  one.close()
  await settle()
  expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['lab:1'] }])
  socket.say(event(9))
  expect(one.state).toEqual([])
})

test('before there is a link it loads by POST', async () => {
  const { connection } = open(fake)
  const one = connection.live('week', 'lab:1', reduce)
  await settle()
  fake.request.json({ data: [1], bookmark: 'h.5_0' })
  await settle()
  fake.socket.say(welcome())
  await settle()
  answerSubscribe(fake.socket)
  expect(one.get()).toMatchObject({ state: [1], status: 'live' })
})

test('a process that never ends: with start: false nothing is loaded before reconnect()', async () => {
  const { connection } = open(fake, { start: false })
  connection.live('week', 'a', (state) => state)
  await turns()
  expect([fake.requests.length, vi.getTimerCount()]).toEqual([0, 0])
  connection.reconnect()
  await turns()
  expect(fake.to('/call/week')).toHaveLength(1)
  connection.close()
})

test('failed for ever: a link that is cut in the middle of its answer passes, and so does a page’s own crowd', async () => {
  const { connection } = await live(fake, { transports: ['websocket'] })
  const big = { of: 'x'.repeat(20_000) }
  const one = connection.live(['week', big], ['lab:1'], reduce)
  await turns()
  const half = fake.request.stream()
  half.text('{"data":[1,')
  half.fail()
  await turns()
  expect([one.status, fake.requests.length]).toEqual(['loading', 1])
  await pass(1000)
  fake.request.json({ error: { code: 'too-many-connections', message: 'too many at once' } }, 429)
  await turns()
  await pass(2000)
  expect([one.status, fake.requests.length]).toEqual(['loading', 3])
  fake.request.json({ data: [1], bookmark: 'h.5_0' })
  await turns()
  answerSubscribe(fake.socket)
  expect(one.get()).toMatchObject({ state: [1], status: 'live' })
})

const frames = (stream, list) => {
  for (const { type, name, ...body } of list) {
    const { id, bookmark, data } = body
    if (type === 'event') stream.frame(name, data, `${bookmark ?? 'h.1_0'}.${id}`)
    else stream.frame(`rowcast:${type}`, { type, ...body }, bookmark)
  }
}

/** A state of rooms that are there already, loaded at h.5_0 by a second stream that brings 6 and stands
 * there, while 7 came over the first one. */
async function loadedBehind() {
  const { connection, told } = open(fake, { transports: ['sse'], rooms: ['lab:1'] })
  await turns()
  const old = fake.request.stream()
  frames(old, [welcome(), event(5)])
  await turns()
  await pass(1000)
  const one = connection.live('week', 'lab:1', (state, { id }) => [...state, Number(id)])
  await turns()
  fake.request.json({ data: [5], bookmark: 'h.5_0' })
  await turns()
  expect([fake.request.query('load'), fake.request.query('from')]).toEqual(['lab:1', 'h.5_0'])
  frames(old, [event(6), event(7)])
  await turns()
  const stream = fake.request.stream()
  frames(stream, [
    welcome(),
    { type: 'subscribed', rooms: ['lab:1'], outcome: 'recovered', count: 1, bookmark: 'h.1_0' },
    event(6),
    { type: 'subscribed', id: 'load', rooms: ['lab:1'], outcome: 'recovered', count: 1, bookmark: 'h.5_0' },
    event(6),
  ])
  await turns()
  expect(one.get()).toMatchObject({ state: [5, 6], status: 'live' })
  return { connection, told, one, stream }
}

test('what a link brought that is ahead of the one it loads by is missed by no state', async () => {
  const { told, one, stream } = await loadedBehind()
  frames(stream, [event(7), event(8)])
  await turns()
  expect(one.state).toEqual([5, 6, 7, 8])
  expect(told.events).toEqual(['5', '6', '7', '8'])
})

test('nor if that link is lost before it brings it, and none has it twice', async () => {
  const { told, one, stream } = await loadedBehind()
  stream.fail()
  await turns()
  await pass(5000)
  const next = fake.request.stream()
  // From further back than the state began: what it had is not for it.
  frames(next, [
    welcome(),
    { type: 'subscribed', rooms: ['lab:1'], outcome: 'recovered', count: 3, bookmark: 'h.1_0' },
    event(5), event(6), event(7), event(7), event(8),
  ])
  await turns()
  expect(one.state).toEqual([5, 6, 7, 8])
  expect(told.events).toEqual(['5', '6', '7', '8'])
})

/** The stream in use loads a state, and its answer is on its way while another link is opened beside it, in
 * its place. */
async function loadAnsweredLate(options, beside) {
  const { connection } = open(fake, { transports: ['sse'], ...options })
  await turns()
  if (options.transports) fake.socket.cut()
  await turns()
  frames(fake.request.stream(), [welcome({ rooms: [] })])
  await pass(1000)
  const one = connection.live('week', 'lab:1', reduce)
  await turns()
  fake.request.json({ data: [5], bookmark: 'h.5_0' })
  await turns()
  const old = fake.request.stream()
  frames(old, [welcome({ rooms: ['lab:1'] }), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 0, bookmark: 'h.5_0' }])
  await turns()
  await beside(connection)
  await turns()
  const load = { type: 'subscribed', id: 'load', rooms: ['lab:1'], outcome: 'recovered', count: 1, bookmark: 'h.5_0' }
  frames(old, [load, event(6)])
  await turns()
  expect(one.get()).toMatchObject({ state: [5, 6], status: 'live' })
  return { one, load }
}

test('a state that stands still: its load is answered while a stream with other rooms is opened', async () => {
  const { one, load } = await loadAnsweredLate({}, async (connection) => {
    await pass(1000)
    connection.subscribe('b').catch(() => {})
    await pass(200)
  })
  expect([fake.request.query('rooms'), fake.request.query('load')]).toEqual(['lab:1,b', 'lab:1'])
  frames(fake.request.stream(), [
    welcome({ rooms: ['lab:1', 'b'] }),
    { type: 'subscribed', rooms: ['lab:1', 'b'], outcome: 'recovered', count: 2, bookmark: 'h.5_0' },
    event(6), event(7),
    { ...load, count: 2 },
    event(6), event(7),
    event(8),
  ])
  await turns()
  expect(one.get()).toMatchObject({ state: [5, 6, 7, 8], status: 'live' })
})

test('a state that stands still: its load is answered while a WebSocket is tried', async () => {
  const { one } = await loadAnsweredLate({ transports: ['websocket', 'sse'] }, () => pass(20_000))
  expect(fake.socket.query('rooms')).toBe('lab:1')
  fake.socket.say(welcome({ rooms: ['lab:1'] }), recovered({ rooms: ['lab:1'], count: 1 }), event(7))
  expect(one.get()).toMatchObject({ state: [5, 6, 7], status: 'live' })
})

test('half a state: a room that is taken while its replay comes shows nothing of it', async () => {
  const { connection, socket, one } = await loaded()
  answerSubscribe(socket, { count: 3 })
  const error = { type: 'error', code: 'forbidden', message: 'no longer yours', room: 'lab:1' }
  const other = connection.live('week', 'lab:2', reduce)
  socket.say(event(6), error)
  expect(one.get()).toEqual({ state: undefined, status: 'failed', error: expect.objectContaining({ room: 'lab:1' }) })
  // Everybody's comes on, and is the replay's still.
  socket.say(event(7), { type: 'heartbeat', bookmark: 'h.7_0' })
  await settle()
  answerCall(socket, [7], 'h.7_0')
  await settle()
  answerSubscribe(socket)
  socket.say(event(8))
  expect(other.get()).toMatchObject({ state: [7, 8], status: 'live' })
})

test('a room that is taken and granted again before its load is answered fails nobody', async () => {
  const { socket, one, told } = await loaded()
  socket.say({ type: 'error', code: 'forbidden', message: 'no longer yours', room: 'lab:1' })
  answerSubscribe(socket)
  await settle()
  expect(one.status).toBe('live')
  expect(told.errors).toMatchObject([{ code: 'forbidden', room: 'lab:1' }])
})

/** A server that answers each call, stream and poll as soon as it is asked. */
function answersAtOnce() {
  fake.onrequest = (request) => {
    const { pathname } = request.url
    if (pathname.startsWith('/call/')) return request.json({ data: [], bookmark: 'h.5_0' })
    const list = (name) => request.query(name)?.split(',') ?? []
    const rooms = [...new Set([...list('rooms'), ...list('load')])]
    const load = list('load')[0] && { type: 'subscribed', id: 'load', rooms: list('load'), outcome: 'recovered', count: 0, bookmark: 'h.5_0' }
    if (pathname === '/sse') {
      const stream = request.stream()
      frames(stream, [welcome({ rooms }), ...(request.query('since') ? [{ type: 'subscribed', rooms, outcome: 'recovered', count: 0 }] : []), ...(load ? [load] : [])])
    } else if (request.query('wait') === '0' || load) {
      request.json({ outcome: 'live', user: '1', rooms, home: 0, events: load ? [load] : [], bookmark: 'h.1_0', more: false, errors: [] })
    }
  }
}

test.each(['sse', 'poll'])('a minute for eight states over %s: each waited twice as long as the one before, though nothing had failed', async (transport) => {
  answersAtOnce()
  const { connection } = open(fake, { transports: [transport] })
  const all = Array.from({ length: 8 }, (_, number) => connection.live('week', `lab:${number}`, reduce))
  for (let i = 0; i < 30; i++) {
    await pass(100)
    await turns()
  }
  expect(all.map(({ status }) => status)).toEqual(all.map(() => 'live'))
  connection.close()
})

test('a stream that is being opened for one state is not begun anew for the next', async () => {
  answersAtOnce()
  const { connection } = open(fake, { transports: ['sse'] })
  await pass(2000)
  const answers = fake.onrequest
  const held = []
  fake.onrequest = (request) => (request.url.pathname === '/sse' ? held.push(request) : answers(request))
  const one = connection.live('week', 'lab:1', reduce)
  await turns()
  const other = connection.live('week', 'lab:2', reduce)
  await turns()
  expect(held.map(({ wasAborted }) => wasAborted)).toEqual([false])
  fake.onrequest = answers
  answers(held[0])
  await pass(200)
  await turns()
  expect([one.status, other.status]).toEqual(['live', 'live'])
  connection.close()
})

test('failed for ever: who logs in later gets the state with the connection', async () => {
  const token = vi.fn(async () => '')
  const { connection } = open(fake, { token })
  const one = connection.live('week', 'lab:1', reduce)
  await pass(120_000)
  expect([connection.status, one.status, fake.sockets.length, fake.requests.length]).toEqual(['refused', 'loading', 0, 0])
  // While it is refused it asks no more often than the connection does.
  expect(token.mock.calls.length).toBeLessThan(10)
  token.mockResolvedValue('jwt')
  connection.reconnect()
  await settle()
  fake.socket.say(welcome())
  await settle()
  answerCall(fake.socket, [1], 'h.5_0')
  await settle()
  answerSubscribe(fake.socket)
  expect(one.get()).toMatchObject({ state: [1], status: 'live' })
})

test('broken stream: a state of no room fails in words, over SSE too', async () => {
  const { connection } = open(fake, { transports: ['sse'] })
  await settle()
  fake.request.stream().frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
  await settle()
  const one = connection.live(async () => ({ data: [1], bookmark: 'h.5_0' }), [], reduce)
  await pass(5000)
  expect(one.get()).toMatchObject({ status: 'failed', error: { code: 'bad-message' } })
  await expect(connection.subscribe([], { since: 'h.5_0' })).rejects.toMatchObject({ code: 'bad-message' })
  await pass(5000)
  expect([connection.status, fake.requests.length]).toEqual(['live', 1])
})
