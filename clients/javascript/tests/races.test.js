// What happens between two steps of something else, or within a handler.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { event, live, open, pass, RowcastError, server, settle, turns, welcome } from './fake.js'

let fake
beforeEach(() => {
  vi.useFakeTimers()
  fake = server()
})
afterEach(() => vi.useRealTimers())

const recovered = (more = {}) => ({ type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 0, bookmark: 'h.1_0', ...more })
const opened = () => fake.sockets.filter(({ wasClosed }) => !wasClosed)

describe('close()', () => {
  test('while token() is pending: nothing is opened, and its answer begins nothing', async () => {
    let give
    const { connection } = open(fake, { token: () => new Promise((resolve) => void (give = resolve)) })
    await settle()
    connection.close()
    give('late')
    await pass(3_600_000)
    expect([fake.sockets.length, fake.requests.length, connection.status]).toEqual([0, 0, 'offline'])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('within a handler: nothing more is delivered', async () => {
    const { connection, told, socket } = await live(fake)
    connection.on('thing', () => connection.close())
    socket.say(event(1), event(2))
    expect([told.events, connection.status]).toEqual([['1'], 'offline'])
    await pass(3_600_000)
    expect([fake.sockets.length, vi.getTimerCount()]).toEqual([1, 0])
  })

  // Each tells a status; whoever closes then means it.
  test.each([
    ['connecting', {}, () => {}],
    ['connecting', { transports: ['websocket', 'sse'] }, () => fake.socket.cut()],
    ['recovering', { since: 'h.0_0' }, () => fake.socket.say(welcome(), recovered())],
    ['live', {}, () => fake.socket.say(welcome())],
    ['recovering', {}, () => (fake.socket.say(welcome()), fake.socket.cut())],
    ['offline', { transports: ['websocket'] }, () => fake.socket.cut()],
    ['refused', { token: async () => 'same' }, () => fake.socket.cut(4001, 'expired')],
    ['refused', {}, () => fake.socket.cut(4004, 'protocol')],
  ])('when told %s %#: it stays closed', async (status, options, happens) => {
    const { connection } = open(fake, { ...options, start: false })
    connection.on('status', (change) => change.status === status && change.reason !== 'closed' && connection.close())
    connection.reconnect()
    await settle()
    if (fake.socket) happens()
    await pass(1000)
    if (fake.socket && !fake.socket.wasClosed) happens()
    expect([connection.status, connection.reason]).toEqual(['offline', 'closed'])
    const before = [fake.sockets.length, fake.requests.length]
    await pass(3_600_000)
    expect([fake.sockets.length, fake.requests.length]).toEqual(before)
    expect([opened(), vi.getTimerCount()]).toEqual([[], 0])
    expect([connection.status, connection.reason]).toEqual(['offline', 'closed'])
  })

  test('within a handler of gaps: it is not live afterwards', async () => {
    const { connection, socket } = await live(fake)
    connection.on('gap', () => connection.close())
    socket.cut()
    await pass(1000)
    fake.socket.say(welcome(), recovered({ outcome: 'gap', reason: 'limit' }))
    expect([connection.status, connection.reason]).toEqual(['offline', 'closed'])
  })

  test('keeps rooms and handlers for reconnect()', async () => {
    const { connection, told } = await live(fake, { rooms: ['a'] }, { rooms: ['a'] })
    connection.close()
    await pass(1000)
    connection.reconnect()
    await settle()
    expect([fake.socket.query('rooms'), fake.socket.query('since')]).toEqual(['a', 'h.1_0'])
    fake.socket.say(welcome({ rooms: ['a'] }), recovered({ count: 1 }), event(1))
    expect([told.events, connection.status]).toEqual([['1'], 'live'])
  })
})

describe('reconnect()', () => {
  test('while connecting: one link is left', async () => {
    const { connection } = open(fake)
    await settle()
    connection.reconnect()
    connection.reconnect()
    await settle()
    expect(opened()).toHaveLength(1)
    fake.socket.say(welcome())
    expect(connection.status).toBe('live')
    await pass(20_000)
    expect(fake.sockets).toHaveLength(2)
  })

  test('false live: it is said at once that the link is gone, whatever token() takes', async () => {
    let isSlow = false
    const { connection, told } = open(fake, { token: () => (isSlow ? new Promise(() => {}) : 'jwt') })
    await settle()
    fake.socket.say(welcome())
    isSlow = true
    connection.reconnect()
    expect([connection.status, connection.transport]).toEqual(['recovering', undefined])
    connection.close()
    connection.reconnect()
    expect(told.statuses.slice(-3)).toEqual(['recovering', 'offline', 'recovering'])
    connection.close()
  })

  test('within the handler that is told refused: one link, and no second one later', async () => {
    let number = 0
    const { connection } = open(fake, { token: async () => (number < 2 ? 'same' : `t${number}`) })
    connection.on('status', ({ status }) => {
      if (status !== 'refused' || number) return
      number = 2
      connection.reconnect()
    })
    await settle()
    fake.socket.say(welcome({ heartbeat: 0 }))
    fake.socket.cut(4001, 'expired')
    await pass(1000)
    fake.socket.say(welcome({ heartbeat: 0 }), recovered())
    await pass(100_000)
    expect([connection.status, opened().length]).toEqual(['live', 1])
  })
})

describe('an answer of token() to a question from before reconnect()', () => {
  test.each([
    ['comes late', (give) => give('alice')],
    ['fails', (_, fail) => fail(new Error('logged out'))],
  ])('is nobody’s: what %s takes no call to another user', async (_, happens) => {
    let answer
    const token = vi.fn(async () => 'bob').mockImplementationOnce(() => new Promise((...both) => void (answer = both)))
    const { connection } = open(fake, { token })
    await settle()
    const early = connection.call('early')
    connection.reconnect()
    await settle()
    fake.socket.say(welcome({ user: 'bob' }))
    happens(...answer)
    await settle()
    connection.call('late', { text: 'x'.repeat(20_000) }).catch(() => {})
    await settle()
    expect(fake.requests.map(({ url, headers }) => [url.pathname, headers.authorization])).toEqual([
      ['/call/early', 'Bearer bob'],
      ['/call/late', 'Bearer bob'],
    ])
    fake.requests[0].json({ data: 1, bookmark: 'h.1_0' })
    expect(await early).toMatchObject({ data: 1 })
    connection.close()
  })
})

describe('rooms', () => {
  test('subscribed while a link is being opened: it is asked for as soon as it is welcomed', async () => {
    const { connection } = open(fake)
    await settle()
    const asked = connection.subscribe('late')
    expect(fake.socket.query('rooms')).toBeNull()
    fake.socket.say(welcome())
    await settle()
    const [{ id, rooms }] = fake.socket.said('subscribe')
    fake.socket.say({ type: 'subscribed', id, rooms, outcome: 'live', bookmark: 'h.1_0' })
    expect(await asked).toMatchObject({ outcome: 'live', rooms: ['late'] })
  })

  test('left while a link is being opened with it: it is left as soon as it is welcomed', async () => {
    const { connection } = open(fake)
    const asked = connection.subscribe('a')
    await settle()
    expect(fake.socket.query('rooms')).toBe('a')
    connection.unsubscribe('a')
    fake.socket.say(welcome({ rooms: ['user:1', 'a'] }))
    await settle()
    expect(await asked).toMatchObject({ rooms: [], refused: [] })
    expect(fake.socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['a'] }])
  })

  test('left before the answer: the promise ends, the answer joins nothing, and the next link does not ask', async () => {
    const { connection, socket } = await live(fake)
    const asked = connection.subscribe(['a', 'b'])
    await settle()
    connection.unsubscribe(['a', 'b'])
    await settle()
    expect(await asked).toMatchObject({ rooms: [] })
    socket.say({ type: 'subscribed', id: 1, rooms: ['a', 'b'], outcome: 'live', bookmark: 'h.1_0' })
    expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['a', 'b'] }])
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBeNull()
  })

  test('refused for one, given to another later: the first one’s leaving takes nothing from the second', async () => {
    const { connection, socket } = await live(fake)
    connection.subscribe('a')
    await settle()
    socket.say({ type: 'error', id: 1, code: 'forbidden', message: '', room: 'a' }, { type: 'subscribed', id: 1, rooms: [], outcome: 'live', bookmark: 'h.1_0' })
    connection.subscribe('a')
    await settle()
    socket.say({ type: 'subscribed', id: 2, rooms: ['a'], outcome: 'live', bookmark: 'h.1_0' })
    connection.unsubscribe('a')
    await settle()
    expect(socket.said('unsubscribe')).toEqual([])
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBe('a')
  })

  test('refused and given in answers that cross: the last one holds', async () => {
    const { connection, socket } = await live(fake)
    for (let i = 0; i < 2; i++) {
      connection.subscribe('a')
      await settle()
    }
    socket.say({ type: 'error', id: 1, code: 'forbidden', message: '', room: 'a' }, { type: 'subscribed', id: 1, rooms: [], outcome: 'live', bookmark: 'h.1_0' })
    socket.say({ type: 'subscribed', id: 2, rooms: ['a'], outcome: 'live', bookmark: 'h.1_0' })
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBe('a')
  })

  test('an upgrade does not take the place of a stream that rooms wait for', async () => {
    const { connection } = open(fake, { transports: ['websocket', 'sse'], storage: { getItem: () => 'sse', setItem() {} } })
    await turns()
    fake.request.stream().frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    await turns()
    fake.onsocket = (socket) => queueMicrotask(() => socket.cut(1006))
    await pass(10_500)
    // Never answered in time: the upgrade comes up meanwhile.
    const asked = connection.subscribe('a')
    await turns()
    expect(fake.request.query('rooms')).toBe('a')
    await pass(5000)
    const second = fake.request.stream()
    second.frame('rowcast:welcome', welcome({ rooms: ['user:1', 'a'], heartbeat: 0 }), 'h.1_0')
    second.frame('rowcast:subscribed', recovered({ rooms: ['user:1', 'a'] }), 'h.1_0')
    await turns()
    expect(await asked).toMatchObject({ rooms: ['a'] })
  })

  test('a socket too many: a stream that rooms wait for is not opened anew when a WebSocket has taken its place', async () => {
    const { connection } = open(fake, { transports: ['websocket', 'sse'], storage: { getItem: () => 'sse', setItem() {} } })
    await turns()
    fake.request.stream().frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    await turns()
    // Opened anew a moment before the better one is tried.
    await pass(10_500)
    connection.subscribe('a')
    await turns()
    await pass(300)
    fake.request.stream().frame('rowcast:welcome', welcome({ rooms: ['user:1', 'a'], heartbeat: 0 }), 'h.1_0')
    await turns()
    while (!fake.socket) await pass(50)
    connection.subscribe('b').catch(() => {})
    await settle()
    fake.socket.say(welcome({ rooms: ['user:1', 'a'], heartbeat: 0 }), recovered())
    await turns()
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: ['b'] }])
    await pass(200)
    expect(fake.sockets).toHaveLength(1)
    connection.close()
  })

  test('a room not heard: joined on a WebSocket while a stream, ranked above it, is opened without it', async () => {
    const { connection } = open(fake, { transports: ['sse', 'websocket'], storage: { getItem: () => 'websocket', setItem() {} } })
    await settle()
    fake.socket.say(welcome({ heartbeat: 0 }))
    await pass(12_000)
    const better = fake.request
    expect([better.url.pathname, better.query('rooms')]).toEqual(['/sse', null])
    const joined = connection.subscribe('a')
    await settle()
    const [{ id }] = fake.socket.said('subscribe')
    fake.socket.say({ type: 'subscribed', id, rooms: ['a'], outcome: 'live', count: 0, bookmark: 'h.2_0' })
    expect(await joined).toMatchObject({ rooms: ['a'] })
    expect([better.wasAborted, fake.socket.wasClosed]).toEqual([true, false])
    // It is tried again, with the room.
    await pass(25_000)
    expect([fake.request.query('rooms'), fake.request.query('since')]).toEqual(['a', 'h.2_0'])
    const stream = fake.request.stream()
    stream.frame('rowcast:welcome', welcome({ rooms: ['user:1', 'a'], heartbeat: 0 }), 'h.2_0')
    stream.frame('rowcast:subscribed', recovered({ rooms: ['user:1', 'a'] }), 'h.2_0')
    await turns()
    expect([connection.transport, fake.socket.wasClosed]).toEqual(['sse', true])
    connection.close()
  })

  test('heard for ever: left while its stream is opened anew for another, it is left with the next', async () => {
    const { connection } = open(fake, { transports: ['sse'], rooms: ['a'] })
    await turns()
    fake.request.stream().frame('rowcast:welcome', welcome({ rooms: ['user:1', 'a'] }), 'h.1_0')
    await turns()
    await pass(2000)
    connection.subscribe('b')
    await turns()
    expect(fake.request.query('rooms')).toBe('a,b')
    connection.unsubscribe('a')
    await turns()
    const second = fake.request.stream()
    second.frame('rowcast:welcome', welcome({ rooms: ['user:1', 'a', 'b'] }), 'h.1_0')
    second.frame('rowcast:subscribed', recovered({ rooms: ['user:1', 'a', 'b'] }), 'h.1_0')
    await turns()
    await pass(2000)
    await turns()
    expect(fake.request.query('rooms')).toBe('b')
    fake.request.stream().frame('rowcast:welcome', welcome({ rooms: ['user:1', 'b'] }), 'h.1_0')
    await turns()
    await pass(10_000)
    expect(fake.requests).toHaveLength(3)
    connection.close()
  })
})

test.each(['websocket', 'sse', 'poll'])('over %s a room may hold what parts rooms in an address', async (transport) => {
  const { connection } = open(fake, { transports: [transport], rooms: ['a,b', 'CORP\\é', 'c'] })
  await settle()
  expect((fake.socket ?? fake.request).query('rooms')).toBe('a\\,b,CORP\\\\é,c')
  connection.close()
})

describe('a room that an address has no place for', () => {
  const LONG = 'a'.repeat(4000)
  const OTHER = 'x'.repeat(4000)
  const answer = (socket, more = {}) => {
    const { id, rooms } = socket.said('subscribe').at(-1)
    socket.say({ type: 'subscribed', id, rooms, outcome: 'recovered', count: 0, bookmark: 'h.1_0', ...more })
  }

  test('is asked for in a frame, never in an address, and is not live before it is back', async () => {
    const { connection, told } = open(fake, { rooms: [LONG, 'c'] })
    await settle()
    expect(fake.socket.query('rooms')).toBe('c')
    fake.socket.say(welcome({ rooms: ['c'] }))
    await settle()
    expect(connection.status).toBe('connecting')
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: [LONG] }])
    answer(fake.socket)
    expect(connection.status).toBe('live')

    fake.socket.cut()
    await pass(1000)
    expect([fake.socket.query('rooms'), fake.socket.query('since')]).toEqual(['c', 'h.1_0'])
    fake.socket.say(welcome({ rooms: ['c'] }), recovered({ rooms: ['c'], count: 1 }), event(1, { bookmark: 'h.7_0.1' }))
    await settle()
    expect(connection.status).toBe('recovering')
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: [LONG], since: 'h.1_0' }])

    // Cut before it was answered: the place to go on from is still the older one.
    fake.socket.cut()
    await pass(2000)
    fake.socket.say(welcome({ rooms: ['c'] }), recovered({ rooms: ['c'] }))
    await settle()
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: [LONG], since: 'h.1_0' }])
    answer(fake.socket, { count: 1 })
    expect(connection.status).toBe('recovering')
    fake.socket.say(event(2))
    expect([connection.status, told.events]).toEqual(['live', ['1', '2']])
  })

  test('lost events: closed before it is back, it comes back from as far as it was left', async () => {
    const { connection, socket } = await live(fake, { rooms: [LONG, 'c'] }, { rooms: ['c'] })
    const { id, rooms } = socket.said('subscribe')[0]
    socket.say(recovered({ id, rooms }))
    expect(connection.status).toBe('live')
    socket.cut()
    await pass(1000)
    fake.socket.say(welcome({ rooms: ['c'] }), recovered({ rooms: ['c'], count: 1 }), event(1, { bookmark: 'h.7_0.1' }))
    await settle()
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: [LONG], since: 'h.1_0' }])
    connection.close()
    connection.reconnect()
    await settle()
    expect(fake.socket.query('since')).toBe('h.7_0.1')
    fake.socket.say(welcome({ rooms: ['c'] }), recovered({ rooms: ['c'], bookmark: 'h.7_0.1' }))
    await settle()
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: [LONG], since: 'h.1_0' }])
    connection.close()
  })

  test('that was wished for before there is a link is given by its frame, not by the welcome', async () => {
    const { connection } = open(fake)
    const asked = connection.subscribe(LONG)
    await settle()
    fake.socket.say(welcome())
    await settle()
    answer(fake.socket, { outcome: 'live' })
    expect(await asked).toMatchObject({ rooms: [LONG], refused: [] })
  })

  test('can be subscribed to and left', async () => {
    const { connection, socket } = await live(fake)
    const asked = connection.subscribe([LONG, 'c'])
    await settle()
    expect(socket.said('subscribe')).toMatchObject([{ rooms: [LONG, 'c'] }])
    answer(socket, { outcome: 'live' })
    expect(await asked).toMatchObject({ rooms: [LONG, 'c'], refused: [] })
    connection.unsubscribe(LONG)
    await settle()
    expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: [LONG] }])
  })

  test('is refused in words where there are no frames, the others of the same wish are not', async () => {
    const { connection, told } = open(fake, { transports: ['sse'], rooms: [OTHER] })
    const asked = connection.subscribe([LONG, 'c'])
    await turns()
    expect(fake.request.query('rooms')).toBe('c')
    const stream = fake.request.stream()
    stream.frame('rowcast:welcome', welcome({ rooms: ['user:1', 'c'] }), 'h.1_0')
    await turns()
    expect(await asked).toMatchObject({ rooms: ['c'], refused: [{ room: LONG, code: 'unavailable', message: expect.stringContaining('needs WebSocket') }] })
    expect(told.errors).toMatchObject([{ code: 'unavailable', room: OTHER }])
    expect(connection.status).toBe('live')
    await pass(10_000)
    expect(fake.requests).toHaveLength(1)
  })

  test('false recovered: asked for from further back with a room that a poll is in, that is live from here on', async () => {
    const { connection } = open(fake, { transports: ['poll'], rooms: ['c'], since: 'h.1_0' })
    const asked = connection.subscribe([LONG, 'c'], { since: 'h.0_0' })
    await settle()
    fake.request.json({ outcome: 'recovered', user: '1', rooms: ['user:1', 'c'], home: 1, events: [], errors: [], bookmark: 'h.1_0', more: false })
    await turns()
    expect(await asked).toMatchObject({ outcome: 'live', rooms: ['c'], refused: [{ room: LONG, code: 'unavailable' }] })
    connection.close()
  })
})

describe('more rooms than an address holds', () => {
  const names = Array.from({ length: 199 }, (_, number) => `document:${number}`.padEnd(100, 'x'))
  const length = () => new URL(fake.socket?.url ?? fake.request.url).search.length
  const answer = (socket, at, more) => socket.say({ type: 'subscribed', id: socket.said('subscribe')[at].id, rooms: socket.said('subscribe')[at].rooms, ...more })

  test('lost for ever: after a cut the rest is asked for in a frame, from where the link begins', async () => {
    const { connection, socket, told } = await live(fake)
    const asked = connection.subscribe(names)
    await settle()
    answer(socket, 0, { outcome: 'live' })
    expect((await asked).rooms).toEqual(names)
    socket.cut()
    await pass(1000)
    expect(length()).toBeLessThan(4100)
    const opened = fake.socket.query('rooms').split(',')
    expect(opened.length).toBeGreaterThan(30)
    fake.socket.say(welcome({ rooms: ['user:1', ...opened] }), recovered({ bookmark: 'h.2_0' }))
    await settle()
    expect(connection.status).toBe('recovering')
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms: names.filter((room) => !opened.includes(room)), since: 'h.1_0' }])
    // One that is no longer granted is told.
    const [{ id, rooms }] = fake.socket.said('subscribe')
    fake.socket.say({ type: 'error', id, code: 'forbidden', message: 'no', room: rooms[0] })
    answer(fake.socket, 0, { rooms: rooms.slice(1), outcome: 'recovered', count: 1, bookmark: 'h.2_0' })
    expect(connection.status).toBe('recovering')
    fake.socket.say(event(3))
    expect([connection.status, told.events]).toEqual(['live', ['3']])
    expect(told.errors).toMatchObject([{ code: 'forbidden', room: rooms[0] }])
  })

  test('lost events: what is behind when the link is cut does not come back with the others, which are not', async () => {
    const { connection, socket } = await live(fake, { rooms: names, transports: ['websocket'] }, { rooms: [] })
    const [{ rooms }] = socket.said('subscribe')
    answer(socket, 0, { outcome: 'live' })
    socket.cut()
    await pass(1000)
    fake.socket.say(welcome(), recovered({ bookmark: 'h.2_0' }))
    await settle()
    // All that was in the address is left meanwhile: there would be place for the rest.
    connection.unsubscribe(names.filter((room) => !rooms.includes(room)))
    fake.socket.cut()
    await pass(3000)
    expect([fake.socket.query('since'), fake.socket.query('rooms')]).toEqual(['h.2_0', null])
    fake.socket.say(welcome(), recovered({ bookmark: 'h.3_0' }))
    await settle()
    expect(fake.socket.said('subscribe')).toMatchObject([{ rooms, since: 'h.1_0' }])
  })

  test('lost events: of a reader they are refused, for they would be joined behind what it has not acknowledged', async () => {
    const { socket, told } = await live(fake, { rooms: names, reader: 'x' }, { rooms: [] })
    const opened = socket.query('rooms').split(',')
    await settle()
    expect(socket.said('subscribe')).toEqual([])
    expect(told.errors.map(({ code, room }) => `${code} ${room}`)).toEqual(names.slice(opened.length).map((room) => `unavailable ${room}`))
  })

  test('are refused in words where there are no frames, and so is a load', async () => {
    const { connection, told } = open(fake, { transports: ['sse'], rooms: names })
    await turns()
    expect(length()).toBeLessThan(4100)
    const opened = fake.request.query('rooms').split(',')
    fake.request.stream().frame('rowcast:welcome', welcome({ rooms: opened }), 'h.1_0')
    await turns()
    expect(told.errors.map(({ code, room }) => `${code} ${room}`)).toEqual(names.slice(opened.length).map((room) => `unavailable ${room}`))
    const asked = connection.subscribe(names.map((name) => `${name}y`), { since: 'h.0_0' })
    await pass(2000)
    expect([fake.request.query('rooms').split(','), fake.request.query('load')]).toEqual([opened, null])
    fake.request.stream().frame('rowcast:welcome', welcome({ rooms: opened }), 'h.1_0')
    await turns()
    expect((await asked).refused.map(({ code }) => code)).toEqual(names.map(() => 'unavailable'))
  })
})

describe('live', () => {
  const week = (connection) => connection.live('week', 'lab:1', (state, { id }) => [...state, id])
  const result = (socket, data) => socket.say({ type: 'result', id: socket.said('call').at(-1).id, data, bookmark: 'h.5_0' })
  const answer = (socket, more = {}) => socket.say({ type: 'subscribed', id: socket.said('subscribe').at(-1).id, rooms: ['lab:1'], outcome: 'recovered', count: 0, bookmark: 'h.5_0', ...more })

  test('closed while it is called, and while it is subscribed: nothing is held, nothing shown', async () => {
    const { connection, socket } = await live(fake)
    const called = week(connection)
    called.close()
    result(socket, [])
    await settle()
    expect(socket.said('subscribe')).toEqual([])
    const asked = week(connection)
    result(socket, [])
    await settle()
    asked.close()
    answer(socket)
    socket.say(event(9))
    await settle()
    expect(asked.get()).toEqual({ state: undefined, status: 'loading' })
    expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['lab:1'] }])
    asked.reload()
    await pass(100)
    expect(socket.said('call')).toHaveLength(2)
  })

  test('a gap while it loads: what was asked before the gap is not shown', async () => {
    const { connection, socket } = await live(fake)
    const one = week(connection)
    const [first] = socket.said('call')
    socket.say({ type: 'gap', rooms: ['*'], reason: 'history', bookmark: 'i.1_0' })
    socket.say({ type: 'result', id: first.id, data: ['old'], bookmark: 'h.5_0' })
    await settle()
    expect(socket.said('subscribe')).toEqual([])
    result(socket, ['new'])
    await settle()
    answer(socket)
    expect(one.get()).toMatchObject({ state: ['new'], status: 'live' })
  })

  test('a gap while it waits for its subscribe: the answer to the older load counts for nothing', async () => {
    const { connection, socket } = await live(fake)
    const one = week(connection)
    result(socket, ['old'])
    await settle()
    socket.say({ type: 'gap', rooms: ['lab:1'], reason: 'trigger', bookmark: 'h.6_0' })
    answer(socket)
    await settle()
    expect(one.get()).toEqual({ state: undefined, status: 'loading' })
    result(socket, ['new'])
    await settle()
    answer(socket)
    socket.say(event(7))
    await settle()
    expect(one.get()).toMatchObject({ state: ['new', '7'], status: 'live' })
    expect(socket.said('unsubscribe')).toEqual([])
  })

  test('loading when the connection is closed: it goes on with reconnect()', async () => {
    const { connection, socket } = await live(fake)
    const one = week(connection)
    result(socket, [])
    await settle()
    connection.close()
    await settle()
    expect([one.status, vi.getTimerCount()]).toEqual(['loading', 0])
    connection.reconnect()
    await settle()
    fake.socket.say(welcome(), recovered())
    await settle()
    result(fake.socket, ['new'])
    await settle()
    answer(fake.socket)
    expect(one.get()).toMatchObject({ state: ['new'], status: 'live' })
  })

  test('two that load at once each get their own replay', async () => {
    const { connection, socket } = await live(fake)
    const both = [week(connection), week(connection)]
    for (const { id } of socket.said('call')) socket.say({ type: 'result', id, data: [], bookmark: 'h.5_0' })
    await settle()
    for (const { id } of socket.said('subscribe')) socket.say({ type: 'subscribed', id, rooms: ['lab:1'], outcome: 'recovered', count: 1, bookmark: 'h.5_0' }, event(6))
    expect(both.map(({ state }) => state)).toEqual([['6'], ['6']])
  })
})

describe('calls without a link', () => {
  const code = (asked) => asked.then(() => 'done', (error) => (error instanceof RowcastError ? error.code : error))

  test('time out, and what comes later is nothing', async () => {
    const { connection } = open(fake, { start: false })
    const asked = code(connection.call('f', {}, { timeout: 500 }))
    await pass(600)
    expect(await asked).toBe('timeout')
    expect(fake.request.wasAborted).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('time out while token() is pending, and are not made when it comes', async () => {
    let give
    const { connection } = open(fake, { start: false, token: () => new Promise((resolve) => void (give = resolve)) })
    const asked = code(connection.call('f', {}, { timeout: 500 }))
    await pass(600)
    expect(await asked).toBe('timeout')
    give('late')
    await settle()
    expect(fake.requests.filter(({ wasAborted, options }) => !wasAborted && !options.signal.aborted)).toEqual([])
  })

  test('whatever goes wrong is a RowcastError of the one class there is', async () => {
    const { connection } = open(fake, { start: false, token: vi.fn(async () => 't').mockRejectedValueOnce(new Error('login is down')) })
    expect(await code(connection.call('f'))).toBe('token')
    const lost = code(connection.call('f'))
    await settle()
    fake.request.fail()
    expect(await lost).toBe('disconnected')
    const unknown = code(connection.call('f'))
    await settle()
    fake.request.json({ error: { code: 'no-such-function', message: '' } }, 404)
    expect(await unknown).toBe('no-such-function')
    // Of a head that was cut the browser knows no length.
    for (const torn of ['', '{"data":[1,']) {
      const half = code(connection.call('f'))
      await settle()
      fake.request.status(200, torn)
      expect(await half).toBe('disconnected')
    }
    const page = code(connection.call('f'))
    await settle()
    fake.request.status(200, '<html>')
    expect(await page).toBe('bad-answer')
  })

  test('a cookie that a POST was refused is no reason to end the stream', async () => {
    const { connection, socket } = await live(fake, { token: undefined })
    const asked = code(connection.call('f', { text: 'x'.repeat(20_000) }))
    await settle()
    fake.request.json({ error: { code: 'unauthorized', message: '' } }, 401)
    expect(await asked).toBe('unauthorized')
    expect(fake.requests).toHaveLength(1)
    socket.cut()
    await pass(1000)
    fake.socket.say(welcome(), recovered())
    expect(connection.status).toBe('live')
  })
})

describe('a clock', () => {
  const HOUR = 3_600_000

  test.each([-HOUR, HOUR])('that jumps by %i ms neither hides a dead link nor cuts a living one', async (jump) => {
    const { connection, socket } = await live(fake)
    await pass(20_000)
    socket.say({ type: 'heartbeat', bookmark: 'h.1_0' })
    vi.setSystemTime(Date.now() + jump)
    for (let i = 0; i < 6; i++) {
      await pass(25_000)
      socket.say({ type: 'heartbeat', bookmark: 'h.1_0' })
    }
    expect([connection.status, fake.sockets.length]).toEqual(['live', 1])
    vi.setSystemTime(Date.now() - jump)
    await pass(110_000)
    expect(socket.wasClosed).toBe(true)
  })

  test('that is set back does not stop a poll', async () => {
    const nothing = { outcome: 'live', user: '1', rooms: [], events: [], bookmark: 'h.1_0', more: false, errors: [] }
    open(fake, { transports: ['poll'] })
    await turns()
    fake.request.json(nothing)
    await turns()
    vi.setSystemTime(Date.now() - HOUR)
    fake.request.json(nothing)
    await turns()
    await pass(1100)
    expect(fake.requests).toHaveLength(3)
  })
})

test('a function that is given to on() twice is called twice, and each off takes one away', async () => {
  const { connection, socket } = await live(fake)
  const fn = vi.fn()
  const off = connection.on('thing', fn)
  connection.on('thing', fn)
  socket.say(event(1))
  off()
  off()
  socket.say(event(2))
  expect(fn).toHaveBeenCalledTimes(3)
})

test('a handler of statuses or of errors that throws stops nothing', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {})
  const { connection, told } = open(fake)
  for (const name of ['status', 'error', 'gap']) {
    connection.on(name, () => {
      throw new Error(name)
    })
  }
  await settle()
  fake.socket.say(welcome(), { type: 'gap', rooms: ['*'], reason: 'x', bookmark: 'h.2_0' }, event(1))
  expect([connection.status, told.events, told.errors.length > 0]).toEqual(['live', ['1'], true])
})

test('types named as something every object has are unknown types', async () => {
  const { connection, socket } = await live(fake)
  for (const type of ['constructor', 'toString', '__proto__', 'valueOf']) socket.say({ type, bookmark: 'nowhere' })
  expect(connection.bookmark).toBe('h.1_0')
})
