import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { event, live, open, pass, RowcastError, server, settle, storage, welcome } from './fake.js'

let fake
beforeEach(() => {
  vi.useFakeTimers()
  fake = server()
})
afterEach(() => vi.useRealTimers())

describe('opening', () => {
  test('the token travels in the subprotocol, never in the address', async () => {
    const { connection } = await live(fake, { rooms: ['lab:1', 'lab:2'], since: 'h.0_0' })
    expect(fake.socket.protocols).toEqual(['rowcast.v1', 'bearer.jwt'])
    expect(fake.socket.url.href).toBe('ws://live.test/ws?rooms=lab%3A1%2Clab%3A2&since=h.0_0')
    expect(connection.user).toBe('1')
    connection.close()
  })

  test('a base with a path and a slash at its end', async () => {
    await live(fake, { url: 'https://host/live/' })
    expect(fake.socket.url.href).toBe('wss://host/live/ws')
  })

  test('offline for ever: a URL object is as good as its text', async () => {
    const { connection } = await live(fake, { url: new URL('https://host/live/') })
    expect([connection.status, fake.socket.url.href]).toEqual(['live', 'wss://host/live/ws'])
  })

  test('what can only be a mistake throws', () => {
    expect(() => open(fake, { url: 'ws://host' })).toThrow(TypeError)
    expect(() => open(fake, { WebSocket: null, transports: ['websocket'] })).toThrow(TypeError)
  })

  test('without since it is live with the welcome', async () => {
    const { told, connection } = await live(fake)
    expect(told.statuses.at(-1)).toBe('live')
    expect(connection.bookmark).toBe('h.1_0')
  })

  test('words of a browser’s own are no reason: a WebSocket that the page’s policy forbids', async () => {
    class Forbidden {
      constructor() {
        throw new DOMException('The operation is insecure.', 'SecurityError')
      }
    }
    const { connection } = open(fake, { WebSocket: Forbidden, transports: ['websocket'] })
    const reasons = []
    connection.on('status', ({ reason }) => reasons.push(reason))
    await pass(3000)
    expect(`${reasons}`).not.toContain('insecure')
    connection.close()
  })

  test('of a status that a handler changes, the others hear last what holds', async () => {
    const { connection, socket } = await live(fake)
    const later = []
    connection.on('status', ({ status }) => status === 'recovering' && connection.close())
    connection.on('status', ({ status }) => later.push(status))
    socket.cut()
    expect([connection.status, later.at(-1)]).toEqual(['offline', 'offline'])
  })

  test('false caught-up: with since it is live only when the last missed event was delivered', async () => {
    const { connection, told } = open(fake, { since: 'h.0_0' })
    await settle()
    fake.socket.say(welcome())
    expect(connection.status).toBe('recovering')
    fake.socket.say({ type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 2, bookmark: 'h.0_0' })
    expect(connection.status).toBe('recovering')
    fake.socket.say(event(1))
    expect(connection.status).toBe('recovering')
    fake.socket.say(event(2))
    expect(connection.status).toBe('live')
    expect(told.events).toEqual(['1', '2'])
  })

  test('a heartbeat ends a replay of which a room was taken away', async () => {
    const { connection } = open(fake, { since: 'h.0_0' })
    await settle()
    fake.socket.say(welcome(), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 2, bookmark: 'h.0_0' }, event(1))
    expect(connection.status).toBe('recovering')
    fake.socket.say({ type: 'heartbeat', bookmark: 'h.5_0' })
    expect(connection.status).toBe('live')
  })

  test('false caught-up: the word that a room was taken ends no replay', async () => {
    const { connection, told } = open(fake, { since: 'h.0_0' })
    await settle()
    const error = { type: 'error', code: 'forbidden', message: 'no longer yours', room: 'a' }
    fake.socket.say(welcome(), { type: 'subscribed', rooms: ['user:1', 'a'], outcome: 'recovered', count: 3, bookmark: 'h.0_0' }, event(1), error)
    expect([connection.status, told.errors]).toMatchObject(['recovering', [{ room: 'a' }]])
    fake.socket.say(event(2), { type: 'heartbeat', bookmark: 'h.5_0' })
    expect([connection.status, told.events]).toEqual(['live', ['1', '2']])
  })

  test('with start: false nothing happens before reconnect()', async () => {
    const { connection } = open(fake, { start: false })
    await pass(60_000)
    expect(fake.sockets).toHaveLength(0)
    connection.reconnect()
    await settle()
    expect(fake.sockets).toHaveLength(1)
  })
})

describe('events', () => {
  test('go to handlers by name and to *, with a handler taken away by its off', async () => {
    const { connection, socket } = await live(fake)
    const heard = []
    const off = connection.on('thing', (data, frame) => heard.push([data.id, frame.id]))
    connection.on('other', () => heard.push('other'))
    socket.say(event(1))
    off()
    socket.say(event(2))
    expect(heard).toEqual([[1, '1']])
  })

  test('duplicates after recovery: an id comes once, an event without id always', async () => {
    const { connection, told, socket } = await live(fake)
    socket.say(event(1), event(2), event(1), { type: 'event', name: 'n', data: 'x' }, { type: 'event', name: 'n', data: 'x' })
    expect(told.events).toEqual(['1', '2', 'x', 'x'])
    expect(connection.duplicates).toBe(1)
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('since')).toBe('h.1_0.1')
    fake.socket.say(welcome(), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 3, bookmark: 'h.1_0.1' }, event(1), event(2), event(3))
    expect(told.events).toEqual(['1', '2', 'x', 'x', '3'])
    expect(connection.status).toBe('live')
  })

  test('ids are forgotten at a gap, for the database may give them out anew', async () => {
    const { told, socket } = await live(fake)
    socket.say(event(1), { type: 'gap', rooms: ['*'], reason: 'history', bookmark: 'i.1_0' }, event(1))
    expect(told.events).toEqual(['1', '1'])
    expect(told.gaps).toEqual([{ rooms: ['*'], reason: 'history', bookmark: 'i.1_0' }])
  })

  test('twice: a subscribe from a place of another history forgets no ids of this one', async () => {
    const { connection, told, socket } = await live(fake)
    socket.say(event(1))
    const asked = connection.subscribe('a', { since: 'old.0_0' })
    await settle()
    socket.say({ type: 'subscribed', id: 1, rooms: ['a'], outcome: 'gap', reason: 'history', bookmark: 'h.1_0' }, event(1))
    expect(await asked).toMatchObject({ outcome: 'gap', reason: 'history' })
    expect([told.gaps, told.events]).toMatchObject([[{ rooms: ['a'] }], ['1']])
  })

  test('a gap on resume is told with its rooms', async () => {
    const { told, socket } = await live(fake)
    socket.cut()
    await pass(1000)
    fake.socket.say(welcome(), { type: 'subscribed', rooms: ['user:1'], outcome: 'gap', reason: 'horizon', bookmark: 'h.9_0' })
    expect(told.gaps).toEqual([{ rooms: ['user:1'], reason: 'horizon', bookmark: 'h.9_0' }])
    expect(told.statuses.at(-1)).toBe('live')
  })

  test('a handler that throws does not stop the stream', async () => {
    const { connection, told, socket } = await live(fake)
    connection.on('thing', () => {
      throw new Error('mine')
    })
    socket.say(event(1), event(2))
    expect(told.events).toEqual(['1', '2'])
    expect(told.errors.map(({ message }) => message)).toEqual(['mine', 'mine'])
  })

  test('an event named as one of our own is heard by * alone', async () => {
    const { told, socket } = await live(fake)
    const before = told.statuses.length
    socket.say(event(1, { name: 'status' }), event(2, { name: 'error' }))
    expect([told.events, told.statuses.length, told.errors]).toEqual([['1', '2'], before, []])
  })

  test('frames of types it does not know are ignored', async () => {
    const { connection, socket } = await live(fake)
    socket.say({ type: 'weather', bookmark: 'nowhere' })
    expect(connection.bookmark).toBe('h.1_0')
  })
})

describe('coming back', () => {
  test('zero-delay loops: a server that accepts and closes at once is asked ever more rarely', async () => {
    fake.onsocket = (socket) => queueMicrotask(() => (socket.say(welcome()), socket.cut()))
    open(fake, { transports: ['websocket'] })
    await pass(60_000)
    expect(fake.sockets.length).toBeLessThan(15)
    const gaps = fake.sockets.slice(1).map((socket, index) => socket.at - fake.sockets[index].at)
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(100)
    expect(gaps.at(-1)).toBeGreaterThan(5000)
  })

  test('nor with jitter at its lowest, nor when nobody answers', async () => {
    fake.onsocket = (socket) => queueMicrotask(() => socket.cut())
    fake.onrequest = (request) => request.fail()
    open(fake, { timers: { random: () => 0 } })
    await pass(10_000)
    expect(fake.sockets.length).toBeLessThanOrEqual(101)
    expect(fake.requests.length).toBeLessThanOrEqual(202)
  })

  test('pauses begin small again only after a link has lasted', async () => {
    fake.onsocket = (socket) => queueMicrotask(() => socket.say(welcome()))
    open(fake, { transports: ['websocket'] })
    await settle()
    for (let i = 0; i < 6; i++) {
      await pass(10_000)
      fake.socket.cut()
      const cutAt = Date.now()
      await pass(1000)
      expect(fake.socket.at - cutAt).toBeLessThanOrEqual(500)
      expect(fake.sockets).toHaveLength(i + 2)
    }
  })

  test.each([1012, 1013])('the delay of %i is obeyed, even when the network is back', async (code) => {
    vi.stubGlobal('addEventListener', (name, fn) => void (ears[name] = fn))
    const ears = {}
    const { connection, socket } = await live(fake)
    await pass(60)
    socket.cut(code, '4321')
    expect(connection.status).toBe('recovering')
    await pass(4300)
    ears.online()
    await settle()
    expect(fake.sockets).toHaveLength(1)
    await pass(30)
    expect(fake.sockets).toHaveLength(2)
  })

  test.each([1009, 4003, 4004])('%i is final, and the reason is told', async (code) => {
    const { connection, socket } = await live(fake)
    socket.cut(code, 'because')
    expect([connection.status, connection.reason]).toEqual(['refused', 'because'])
    await pass(3_600_000)
    expect(fake.sockets).toHaveLength(1)
    connection.reconnect()
    await settle()
    expect(fake.sockets).toHaveLength(2)
  })

  test('ten seconds in silence: a socket of Node 22, which tells no close if it could not open, is not waited for', async () => {
    const { connection } = open(fake, { transports: ['websocket'] })
    await settle()
    fake.socket.onerror({})
    await pass(1000)
    expect(fake.sockets).toHaveLength(2)
    // Elsewhere the close follows in the same turn, and what it says counts.
    fake.socket.onerror({})
    fake.socket.cut(4003)
    await pass(1000)
    expect([connection.status, fake.sockets.length]).toEqual(['refused', 2])
  })

  test.each([1006, 1001, 4000, 4005])('after %i it comes back with its bookmark', async (code) => {
    const { socket } = await live(fake)
    socket.say(event(7))
    socket.cut(code)
    await pass(1000)
    expect(fake.socket.query('since')).toBe('h.1_0.7')
  })

  test('close() ends it for good', async () => {
    const { connection, socket, told } = await live(fake)
    const asked = connection.subscribe('x').catch(({ code }) => code)
    connection.close()
    expect(socket.wasClosed).toBe(true)
    expect(await asked).toBe('closed')
    expect([connection.status, connection.reason]).toEqual(['offline', 'closed'])
    await pass(3_600_000)
    expect(fake.sockets).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
    expect(told.statuses.at(-1)).toBe('offline')
  })
})

describe('a dead link', () => {
  test('is noticed by missing heartbeats, and its heartbeat’s bookmark is taken', async () => {
    const { connection, socket } = await live(fake)
    await pass(25_000)
    socket.say({ type: 'heartbeat', bookmark: 'h.2_0' })
    expect(connection.bookmark).toBe('h.2_0')
    await pass(49_000)
    expect(connection.status).toBe('live')
    await pass(6000)
    expect(connection.status).not.toBe('live')
    expect(socket.wasClosed).toBe(true)
    expect(fake.socket.query('since')).toBe('h.2_0')
  })

  test('one that answers the last ping lives on', async () => {
    const { connection, socket } = await live(fake)
    await pass(51_000)
    expect(socket.said('ping')).toHaveLength(1)
    socket.say({ type: 'pong' })
    await pass(20_000)
    expect(connection.status).toBe('live')
    expect(fake.sockets).toHaveLength(1)
  })

  test('after sleep, frames that waited are heard before it is given up', async () => {
    const { connection, socket } = await live(fake)
    vi.setSystemTime(Date.now() + 3_600_000)
    await pass(50_500)
    socket.say({ type: 'heartbeat', bookmark: 'h.3_0' })
    await pass(10_000)
    expect(connection.status).toBe('live')
  })
})

describe('tokens', () => {
  const unixIn = (seconds) => Math.floor(Date.now() / 1000) + seconds

  test('tokens that are never renewed: a new one is said in band before the old one ends', async () => {
    let number = 0
    const token = vi.fn(async () => `t${++number}`)
    const { socket } = await live(fake, { token }, { expiresAt: unixIn(300), heartbeat: 0 })
    expect(socket.protocols[1]).toBe('bearer.t1')
    await pass(200_000)
    expect(socket.said('auth')).toEqual([])
    await pass(12_000)
    expect(socket.said('auth')[0]).toMatchObject({ token: 't2' })
    socket.say({ type: 'authenticated', id: 'auth', expiresAt: unixIn(300) }, { type: 'heartbeat', bookmark: 'h' })
    await pass(40_000)
    socket.say({ type: 'heartbeat', bookmark: 'h' })
    expect(socket.said('auth')).toHaveLength(1)
    expect(token).toHaveBeenCalledTimes(2)
  })

  test('tokens of two seconds are renewed in time, again and again', async () => {
    let number = 0
    const { socket } = await live(fake, { token: async () => `t${++number}` }, { expiresAt: unixIn(2) })
    let end = unixIn(2)
    for (let i = 0; i < 200; i++) {
      await pass(100)
      socket.say({ type: 'heartbeat', bookmark: 'h.1_0' })
      expect(Date.now() / 1000).toBeLessThanOrEqual(end)
      if (socket.said('auth').length) {
        socket.sent.length = 0
        end = unixIn(2)
        socket.say({ type: 'authenticated', expiresAt: end })
      }
    }
    expect(number).toBeGreaterThan(8)
  })

  // The server was busy, or has not answered, or goes by another user: the link keeps the token it had.
  test.each([
    ['is answered that it is overloaded', { code: 'overloaded', message: '' }, 2],
    ['is not answered', undefined, 2],
    ['is refused', { code: 'unauthorized', message: 'sub must stay: reconnect instead' }, 1],
  ])('lost for ever: a new token that %s is said again, or else brings the next link', async (_, error, least) => {
    const token = vi.fn(async () => 't2').mockResolvedValueOnce('t1')
    const { connection, socket } = await live(fake, { token }, { expiresAt: unixIn(100), heartbeat: 0 })
    const heard = () => socket.said('auth').length
    for (let answered = 0; !socket.wasClosed && answered < 80; answered++) {
      const before = heard()
      await pass(1000)
      if (error && heard() > before) socket.say({ type: 'error', id: 'auth', ...error })
    }
    expect(heard()).toBeGreaterThanOrEqual(least)
    if (least === 1) expect(heard()).toBe(1)
    expect(socket.said('auth').map((one) => one.token)).not.toContain('t1')
    socket.cut(4001, 'the token has expired')
    await pass(1000)
    expect([connection.status, fake.socket.protocols[1]]).toEqual(['recovering', 'bearer.t2'])
    fake.socket.say(welcome(), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    expect(connection.status).toBe('live')
  })

  test('a token that was accepted late is the one that ends', async () => {
    const token = vi.fn(async () => 't2').mockResolvedValueOnce('t1')
    const { connection, socket } = await live(fake, { token }, { expiresAt: unixIn(100), heartbeat: 0 })
    await pass(75_000)
    socket.say({ type: 'error', id: 'auth', code: 'overloaded', message: '' }, { type: 'authenticated', id: 'auth', expiresAt: unixIn(1000) })
    const said = socket.said('auth').length
    await pass(100_000)
    expect(socket.said('auth')).toHaveLength(said)
    socket.cut(4002, 'revoked')
    await pass(1000)
    expect([connection.status, connection.reason]).toEqual(['refused', 'revoked'])
  })

  test('a clock that is ahead makes no loop of renewals', async () => {
    let number = 0
    const { socket } = await live(fake, { token: async () => `t${++number}` }, { expiresAt: unixIn(-1000), heartbeat: 0 })
    for (let i = 0; i < 300; i++) {
      await pass(1000)
      if (socket.said('auth').length) {
        socket.sent.length = 0
        socket.say({ type: 'authenticated', expiresAt: unixIn(-1000) })
      }
    }
    expect(number).toBeLessThan(25)
  })

  test('an end in 60 days does not renew at once', async () => {
    const token = vi.fn(async () => 't')
    await live(fake, { token }, { expiresAt: unixIn(60 * 86400), heartbeat: 0 })
    await pass(86_400_000)
    expect(token).toHaveBeenCalledTimes(1)
  })

  test('token() that fails is asked again, and the reason told', async () => {
    const token = vi.fn(async () => 't').mockRejectedValueOnce(new Error('login is down'))
    const { connection } = open(fake, { token })
    await settle()
    expect(connection.reason).toContain('login is down')
    expect(fake.sockets).toHaveLength(0)
    await pass(1000)
    expect(fake.sockets).toHaveLength(1)
  })

  test('token() that never answers is given up and asked again', async () => {
    const token = vi.fn(async () => 't').mockImplementationOnce(() => new Promise(() => {}))
    open(fake, { token })
    await pass(11_000)
    expect(token).toHaveBeenCalledTimes(2)
    expect(fake.sockets).toHaveLength(1)
  })

  test.each([1008, 4001, 4002])('after %i the same token is never sent again', async (code) => {
    const token = vi.fn(async () => 'same')
    const { connection, socket } = await live(fake, { token })
    socket.cut(code, 'expired')
    await pass(1000)
    expect([connection.status, connection.reason]).toEqual(['refused', 'expired'])
    await pass(600_000)
    expect(fake.sockets).toHaveLength(1)
    token.mockResolvedValue('another')
    await pass(31_000)
    expect(fake.sockets).toHaveLength(2)
    expect(fake.socket.protocols[1]).toBe('bearer.another')
  })

  test('a token given as text is refused until reconnect()', async () => {
    const { connection, socket } = await live(fake)
    socket.cut(1008, 'bad-signature')
    await pass(600_000)
    expect([connection.status, fake.sockets.length]).toEqual(['refused', 1])
    connection.reconnect()
    await settle()
    expect(fake.sockets).toHaveLength(2)
  })

  test('loop of tokens: a forbidden Origin is no token’s fault', async () => {
    const token = vi.fn(async () => `t${token.mock.calls.length}`)
    const { connection } = open(fake, { token })
    await settle()
    fake.socket.cut(1008, 'forbidden-origin: this Origin is not allowed')
    await pass(600_000)
    expect([connection.status, connection.reason]).toEqual(['refused', 'forbidden-origin: this Origin is not allowed'])
    expect([fake.sockets.length, token.mock.calls.length]).toEqual([1, 1])
  })

  test('storm of tokens: all who need one at once ask once, and not for ever', async () => {
    const answers = []
    const token = vi.fn(() => new Promise((resolve) => answers.push(resolve)))
    const { connection } = open(fake, { token })
    for (let n = 0; n < 10; n++) connection.live(['week', { n }], 'a', () => {})
    await settle()
    expect(token).toHaveBeenCalledTimes(1)
    await pass(10_000)
    connection.call('f').catch(() => {})
    await settle()
    expect(token).toHaveBeenCalledTimes(2)
    answers[1]('jwt')
    await settle()
    expect(fake.requests.map(({ headers }) => headers.authorization)).toContain('Bearer jwt')
    // Who has logged in meanwhile does not want the answer to an older question.
    connection.reconnect()
    await settle()
    connection.reconnect()
    await settle()
    expect(token).toHaveBeenCalledTimes(4)
    connection.close()
  })

  test('a token that ends in a newline, as files do, is as good for a WebSocket', async () => {
    const { connection } = open(fake, { token: async () => 'jwt\n' })
    await settle()
    expect(fake.socket.protocols).toContain('bearer.jwt')
    connection.close()
  })

  test('no token is no anonymous visit', async () => {
    const { connection } = open(fake, { token: async () => '' })
    await pass(5000)
    expect([connection.status, fake.sockets.length]).toEqual(['refused', 0])
  })

  test('by cookie: no token is sent, and a refusal is final', async () => {
    const { connection } = open(fake, { token: undefined })
    await settle()
    expect(fake.socket.protocols).toEqual(['rowcast.v1'])
    fake.socket.say()
    fake.socket.cut(1008, 'unknown session')
    await pass(600_000)
    expect([connection.status, fake.sockets.length]).toEqual(['refused', 1])
  })
})

describe('rooms', () => {
  test('all subscribes of one turn go in one frame, with their outcome and what was refused', async () => {
    const { connection, socket } = await live(fake)
    const both = Promise.all([connection.subscribe('a'), connection.subscribe(['b', 'c'])])
    await settle()
    expect(socket.said('subscribe')).toEqual([{ type: 'subscribe', id: 1, rooms: ['a', 'b', 'c'] }])
    socket.say({ type: 'error', id: 1, code: 'forbidden', message: 'no', room: 'b' }, { type: 'subscribed', id: 1, rooms: ['a', 'c'], outcome: 'live', bookmark: 'h.1_0' })
    const [first, second] = await both
    expect(first).toMatchObject({ outcome: 'live', rooms: ['a'], refused: [] })
    expect(second).toMatchObject({ rooms: ['c'], refused: [{ room: 'b', code: 'forbidden', message: 'no' }] })
  })

  test('lost subscriptions: after a cut all wanted rooms are asked for, and none that was refused or left', async () => {
    const { connection, socket } = await live(fake, { rooms: ['r'] }, { rooms: ['user:1', 'r'] })
    connection.subscribe(['a', 'b', 'c'])
    await settle()
    socket.say({ type: 'error', id: 1, code: 'forbidden', message: '', room: 'b' }, { type: 'subscribed', id: 1, rooms: ['a', 'c'], outcome: 'live', bookmark: 'h.1_0' })
    connection.unsubscribe('c')
    await settle()
    expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['c'] }])
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBe('r,a')
  })

  test('a subscribe that was not answered before the cut is answered by the next link', async () => {
    const { connection, socket } = await live(fake)
    const asked = connection.subscribe('a')
    await settle()
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBe('a')
    fake.socket.say(welcome({ rooms: ['user:1', 'a'] }), { type: 'subscribed', rooms: ['user:1', 'a'], outcome: 'recovered', count: 0, bookmark: 'h.1_0' })
    expect(await asked).toMatchObject({ outcome: 'recovered', rooms: ['a'] })
  })

  test('one unsubscribe undoes one subscribe, and a home room is never left', async () => {
    const { connection, socket } = await live(fake)
    connection.subscribe('a')
    connection.subscribe(['a', 'user:1'])
    await settle()
    socket.say({ type: 'subscribed', id: 1, rooms: ['a', 'user:1'], outcome: 'live', bookmark: 'h.1_0' })
    connection.unsubscribe(['a', 'user:1'])
    await settle()
    expect(socket.said('unsubscribe')).toEqual([])
    connection.unsubscribe('a')
    await settle()
    expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['a'] }])
  })

  test('lost home room: one that was asked for before the first welcome is not left either', async () => {
    const { connection, socket } = await live(fake, { rooms: ['user:1', 'a'] }, { rooms: ['user:1', 'a'] })
    expect(socket.query('rooms')).toBe('user:1,a')
    connection.unsubscribe(['user:1', 'a'])
    await settle()
    expect(socket.said('unsubscribe')).toEqual([{ type: 'unsubscribe', rooms: ['a'] }])
  })

  test('lost home room: one that a renewed token has brought is not left either', async () => {
    let number = 0
    const { connection } = open(fake, { token: async () => `t${++number}` })
    await settle()
    fake.socket.say(welcome({ expiresAt: Math.floor(Date.now() / 1000) + 300, heartbeat: 0 }))
    await pass(212_000)
    const { id } = fake.socket.said('auth')[0]
    fake.socket.say({ type: 'authenticated', id, expiresAt: Math.floor(Date.now() / 1000) + 300 }, { type: 'subscribed', rooms: ['user:2'], outcome: 'live', bookmark: 'h.1_0' })
    const asked = connection.subscribe('user:2')
    await settle()
    fake.socket.say({ type: 'subscribed', id: 1, rooms: ['user:2'], outcome: 'live', bookmark: 'h.1_0' })
    await asked
    connection.unsubscribe('user:2')
    await settle()
    expect(fake.socket.said('unsubscribe')).toEqual([])
    connection.close()
  })

  test('since goes with the frame, and survives a cut before the answer', async () => {
    const { connection, socket } = await live(fake)
    const asked = connection.subscribe('a', { since: 'h.0_5' })
    await settle()
    expect(socket.said('subscribe')[0]).toMatchObject({ rooms: ['a'], since: 'h.0_5' })
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBeNull()
    fake.socket.say(welcome(), { type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 0, bookmark: 'h.1_0' })
    await settle()
    const [{ id, since }] = fake.socket.said('subscribe')
    expect(since).toBe('h.0_5')
    fake.socket.say({ type: 'subscribed', id, rooms: ['a'], outcome: 'gap', reason: 'limit', bookmark: 'h.2_0' })
    expect(await asked).toMatchObject({ outcome: 'gap', reason: 'limit' })
  })

  test('a busy server is asked again, one that says no is not', async () => {
    const { connection, socket } = await live(fake)
    const first = connection.subscribe('a')
    await settle()
    socket.say({ type: 'error', id: 1, code: 'overloaded', message: '' })
    await pass(3000)
    expect(socket.said('subscribe').map(({ id }) => id)).toEqual([1, 2])
    socket.say({ type: 'subscribed', id: 2, rooms: ['a'], outcome: 'live', bookmark: 'h.1_0' })
    expect(await first).toMatchObject({ rooms: ['a'] })
    const second = connection.subscribe('b').catch((error) => error)
    await settle()
    socket.say({ type: 'error', id: 3, code: 'too-many-rooms', message: 'at most 200' })
    expect(await second).toMatchObject({ code: 'too-many-rooms' })
  })

  const granted = (socket, at = -1) => {
    const { id, rooms } = socket.said('subscribe').at(at)
    socket.say({ type: 'subscribed', id, rooms, outcome: 'live', bookmark: 'h.1_0' })
  }
  const refused = (socket, code, at = -1) => socket.say({ type: 'error', id: socket.said('subscribe').at(at).id, code, message: code })
  /** What the next link asks for. */
  const nextRooms = async (socket) => {
    socket.cut()
    await pass(2000)
    return fake.socket.query('rooms')
  }

  test('lost subscriptions: a subscribe that is refused as a whole takes no room from those who have it', async () => {
    const { connection, socket } = await live(fake, { rooms: ['first'] }, { rooms: ['user:1', 'first'] })
    connection.subscribe('a')
    await settle()
    granted(socket)
    for (const rooms of ['a', 'first']) {
      const asked = connection.subscribe([rooms, 'new'], { since: 'garbage' })
      await settle()
      refused(socket, 'bad-bookmark')
      await expect(asked).rejects.toMatchObject({ code: 'bad-bookmark' })
    }
    expect(await nextRooms(socket)).toBe('first,a')
  })

  test('nor from one that is still to be answered', async () => {
    const { connection, socket } = await live(fake)
    const bad = connection.subscribe('a', { since: 'garbage' }).catch(() => {})
    await settle()
    const asked = connection.subscribe('a')
    await settle()
    refused(socket, 'bad-bookmark', 0)
    await bad
    expect(await nextRooms(socket)).toBe('a')
    fake.socket.say(welcome({ rooms: ['user:1', 'a'] }), { type: 'subscribed', rooms: ['user:1', 'a'], outcome: 'recovered', count: 0 })
    expect(await asked).toMatchObject({ rooms: ['a'], refused: [] })
  })

  test('one that asks for too much does not take the others of its turn with it', async () => {
    const { connection, socket } = await live(fake)
    const asked = [['a'], ['b', 'c'], ['d']].map((rooms) => connection.subscribe(rooms).then(({ rooms }) => `${rooms}`, ({ code }) => code))
    await settle()
    refused(socket, 'too-many-rooms')
    await settle()
    expect(socket.said('subscribe').map(({ rooms }) => `${rooms}`)).toEqual(['a,b,c,d', 'a', 'b,c', 'd'])
    granted(socket, 1)
    refused(socket, 'too-many-rooms', 2)
    granted(socket, 3)
    expect(await Promise.all(asked)).toEqual(['a', 'too-many-rooms', 'd'])
    expect(await nextRooms(socket)).toBe('a,d')
  })

  test('lost subscriptions: a room asked for with since stays wanted through close() and reconnect()', async () => {
    const { connection } = await live(fake)
    const asked = connection.subscribe('a', { since: 'h.0_0' }).catch(({ code }) => code)
    connection.close()
    expect(await asked).toBe('closed')
    connection.reconnect()
    await settle()
    expect(fake.socket.query('rooms')).toBe('a')
  })

  test('the end of a link: a list that is too long for a frame is refused in words, many lists go in several', async () => {
    const { connection, socket } = await live(fake)
    const names = (count, letter) => Array.from({ length: count }, (_, number) => `${letter}${number}`.padEnd(200, 'ü'))
    await expect(connection.subscribe(names(200, 'a'))).rejects.toMatchObject({ code: 'message-too-big' })
    const lists = [...'bcdefg'].map((letter) => names(100, letter))
    const asked = lists.map((rooms) => connection.subscribe(rooms))
    await settle()
    for (const frame of socket.sent) expect(new TextEncoder().encode(JSON.stringify(frame)).length).toBeLessThan(65_536)
    expect(socket.said('subscribe').length).toBeGreaterThan(1)
    expect(socket.said('subscribe').flatMap(({ rooms }) => rooms)).toEqual(lists.flat())
    for (const [at] of socket.said('subscribe').entries()) granted(socket, at)
    expect((await Promise.all(asked)).map(({ rooms }) => rooms)).toEqual(lists)
    // All of them are one wish when the link comes back.
    socket.cut()
    await pass(2000)
    fake.socket.say(welcome({ rooms: fake.socket.query('rooms').split(',') }), { type: 'subscribed', rooms: [], outcome: 'recovered', count: 0 })
    await settle()
    for (const frame of fake.socket.sent) expect(new TextEncoder().encode(JSON.stringify(frame)).length).toBeLessThan(65_536)
    expect(connection.status).toBe('recovering')
    for (const [at] of fake.socket.said('subscribe').entries()) granted(fake.socket, at)
    expect(connection.status).toBe('live')
    connection.unsubscribe(lists.flat())
    await settle()
    for (const frame of fake.socket.sent) expect(new TextEncoder().encode(JSON.stringify(frame)).length).toBeLessThan(65_536)
    expect(fake.socket.said('unsubscribe').flatMap(({ rooms }) => rooms)).toEqual(lists.flat())
  })

  test('never live: rooms that have no place in the address, refused as a whole, are told one by one', async () => {
    const rooms = ['1', '2'].map((end) => end.padStart(4000, 'a'))
    const { connection, socket, told } = await live(fake, { rooms })
    expect(connection.status).toBe('connecting')
    refused(socket, 'too-many-rooms')
    expect(connection.status).toBe('live')
    expect(told.errors).toMatchObject(rooms.map((room) => ({ code: 'too-many-rooms', room })))
  })

  test.each([[[]], [['']], [['', 'a']]])('what is refused before it is said (%j) is undone by its unsubscribe, and no other', async (rooms) => {
    const { connection, socket } = await live(fake)
    connection.subscribe('a')
    await settle()
    granted(socket)
    await expect(connection.subscribe(rooms)).rejects.toMatchObject({ code: 'bad-message' })
    connection.unsubscribe(rooms)
    await settle()
    expect([socket.said('subscribe').length, socket.said('unsubscribe').length]).toEqual([1, 0])
    expect(await nextRooms(socket)).toBe('a')
  })

  test('lost subscriptions: nor does it take a room that no link has opened with yet', async () => {
    const { connection } = open(fake, { rooms: ['a'] })
    await expect(connection.subscribe(['', 'a'])).rejects.toMatchObject({ code: 'bad-message' })
    await settle()
    expect(fake.socket.query('rooms')).toBe('a')
  })

  test('heard for ever: an unsubscribe above the rate is said again, one that was answered is not', async () => {
    const { connection, socket } = await live(fake)
    connection.subscribe(['a', 'b'])
    await settle()
    granted(socket)
    connection.unsubscribe('a')
    await settle()
    socket.say({ type: 'error', code: 'rate-limited', message: 'at most 50 messages a second' })
    await pass(3000)
    expect(socket.said('unsubscribe').map(({ rooms }) => `${rooms}`)).toEqual(['a', 'a'])
    socket.say({ type: 'unsubscribed', rooms: ['a'] })
    connection.unsubscribe('b')
    connection.subscribe('c')
    await settle()
    socket.say({ type: 'error', code: 'rate-limited', message: 'at most 50 messages a second' })
    await pass(3000)
    expect(socket.said('unsubscribe').map(({ rooms }) => `${rooms}`)).toEqual(['a', 'a', 'b', 'b'])
  })

  test('nor is one said again for a room that is wanted anew', async () => {
    const { connection, socket } = await live(fake)
    connection.subscribe('a')
    await settle()
    granted(socket)
    connection.unsubscribe('a')
    await settle()
    socket.say({ type: 'error', code: 'rate-limited', message: 'at most 50 messages a second' })
    connection.subscribe('a')
    await settle()
    granted(socket)
    await pass(3000)
    expect(socket.said('unsubscribe')).toHaveLength(1)
  })

  test('a room that is taken away is told although somebody else just asks for it', async () => {
    const { connection, socket, told } = await live(fake, { rooms: ['a'] }, { rooms: ['user:1', 'a'] })
    const asked = connection.subscribe('a')
    await settle()
    socket.say({ type: 'error', code: 'forbidden', message: 'no longer yours', room: 'a' })
    expect(told.errors).toMatchObject([{ code: 'forbidden', room: 'a' }])
    socket.say({ type: 'error', id: 1, code: 'forbidden', message: 'no', room: 'a' }, { type: 'subscribed', id: 1, rooms: [], outcome: 'live', bookmark: 'h.1_0' })
    expect((await asked).refused).toEqual([{ room: 'a', code: 'forbidden', message: 'no' }])
  })

  test('a room that is taken away is told, and not asked for again', async () => {
    const { socket, told } = await live(fake, { rooms: ['a'] }, { rooms: ['a'] })
    socket.say({ type: 'error', code: 'forbidden', message: 'no longer yours', room: 'a' })
    expect(told.errors).toMatchObject([{ code: 'forbidden', room: 'a' }])
    socket.cut()
    await pass(1000)
    expect(fake.socket.query('rooms')).toBeNull()
  })
})

describe('calls', () => {
  test('go by frame when live, and their bookmark is not the stream’s', async () => {
    const { connection, socket } = await live(fake)
    const asked = connection.call('lab_week', { lab: 1 })
    const [frame] = socket.said('call')
    expect(frame).toMatchObject({ function: 'lab_week', args: { lab: 1 } })
    socket.say({ type: 'result', id: frame.id, data: [1], bookmark: 'h.99_0' })
    expect(await asked).toEqual({ data: [1], bookmark: 'h.99_0' })
    expect(connection.bookmark).toBe('h.1_0')
  })

  test('reject with the server’s code, on timeout, and when the link is lost, without asking twice', async () => {
    const { connection, socket } = await live(fake)
    const code = (asked) => asked.then(() => 'done', (error) => (error instanceof RowcastError ? error.code : error))
    const asked = [code(connection.call('a')), code(connection.call('b', {}, { timeout: 50 })), code(connection.call('c'))]
    socket.say({ type: 'error', id: socket.sent[0].id, code: 'no-such-function', message: '' })
    await pass(60)
    socket.cut()
    expect(await Promise.all(asked)).toEqual(['no-such-function', 'timeout', 'disconnected'])
    expect(fake.to('/call/c')).toEqual([])
  })

  test('that have timed out are over: an error that comes later is nobody’s', async () => {
    const { connection, socket, told } = await live(fake)
    const asked = connection.call('f', {}, { timeout: 50 }).catch(({ code }) => code)
    await pass(60)
    expect(await asked).toBe('timeout')
    socket.say({ type: 'error', id: socket.said('call')[0].id, code: 'call-timeout', message: 'the function took too long' })
    expect(told.errors).toEqual([])
  })

  test('go by POST when there is no link, and when they are big', async () => {
    const { connection } = open(fake)
    const asked = connection.call('f', { a: 1 })
    await settle()
    expect(fake.request.url.pathname).toBe('/call/f')
    expect(fake.request.headers).toEqual({ 'content-type': 'application/json', authorization: 'Bearer jwt' })
    expect(fake.request.options.body).toBe('{"a":1}')
    fake.request.json({ data: 2, bookmark: 'h.3_0' })
    expect(await asked).toEqual({ data: 2, bookmark: 'h.3_0' })
    fake.socket.say(welcome())
    connection.call('g', { text: 'x'.repeat(70_000) }).catch(() => {})
    await settle()
    expect(fake.socket.said('call')).toEqual([])
    expect(fake.request.url.pathname).toBe('/call/g')
  })

  test('a call without end: an answer that is no object is a bad one', async () => {
    const { connection } = open(fake)
    const seen = []
    connection.call('f').then(() => seen.push('ok'), (error) => seen.push(error.code))
    await settle()
    fake.request.json(null)
    await settle()
    await pass(20_000)
    expect(seen).toEqual(['bad-answer'])
  })

  test('that are more at once than the link may have go by POST: none of these was done', async () => {
    const { connection, socket } = await live(fake)
    const asked = [1, 2, 3].map((a) => connection.call('f', { a }))
    const frames = socket.said('call')
    socket.say({ type: 'error', id: frames[2].id, code: 'rate-limited', message: 'at most 2 at once' })
    await settle()
    expect(fake.requests.map(({ url, options }) => [url.pathname, options.body])).toEqual([['/call/f', '{"a":3}']])
    fake.request.json({ data: 3, bookmark: 'h.3_0' })
    for (const { id, args } of frames.slice(0, 2)) socket.say({ type: 'result', id, data: args.a, bookmark: 'h.3_0' })
    expect((await Promise.all(asked)).map(({ data }) => data)).toEqual([1, 2, 3])
    // There it is the last word.
    const last = connection.call('f').catch(({ code }) => code)
    socket.say({ type: 'error', id: socket.said('call').at(-1).id, code: 'rate-limited', message: '' })
    await settle()
    fake.request.json({ error: { code: 'rate-limited', message: '' } }, 429)
    expect(await last).toBe('rate-limited')
    expect(fake.requests).toHaveLength(2)
  })

  test('a token that a POST was refused is replaced once', async () => {
    let number = 0
    const { connection } = open(fake, { token: async () => `t${++number}`, start: false })
    const asked = connection.call('f').catch((error) => error)
    await settle()
    fake.request.json({ error: { code: 'unauthorized', message: 'expired' } }, 401)
    await settle()
    expect(fake.request.headers.authorization).toBe('Bearer t2')
    fake.request.json({ error: { code: 'overloaded', message: 'later' } }, 503, { 'retry-after': '2' })
    expect(await asked).toMatchObject({ code: 'overloaded', retryAfter: 2000 })
    expect(fake.requests).toHaveLength(2)
  })
})

test('the transport that worked is remembered, and storage that throws is no obstacle', async () => {
  const kept = storage()
  await live(fake, { storage: kept })
  expect(kept.kept).toEqual({ 'rowcast:http://live.test': 'websocket' })
  const forbidden = { getItem: () => { throw new Error('no') }, setItem: () => { throw new Error('no') } }
  const { connection } = await live(server() && fake, { storage: forbidden })
  expect(connection.status).toBe('live')
})

test('a warning at each start of Node 25: where there is no page, nobody asks for localStorage', async () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage')
  const asked = vi.fn()
  Object.defineProperty(globalThis, 'localStorage', { configurable: true, get: asked })
  try {
    await live(fake, { storage: undefined })
  } finally {
    delete globalThis.localStorage
    if (before) Object.defineProperty(globalThis, 'localStorage', before)
  }
  expect(asked).not.toHaveBeenCalled()
})
