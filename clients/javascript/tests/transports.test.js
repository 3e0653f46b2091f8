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

/** What a transport needs of the settings. */
const connectSettings = () => ({
  url: 'http://server.test',
  pollWait: 25,
  connectTimeout: 10_000,
  now: () => Date.now(),
  later(ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
})

async function liveBySse(options = {}, more = {}) {
  const opened = open(fake, { transports: ['sse'], ...options })
  await turns()
  const stream = fake.request.stream()
  stream.text('retry: 2000\n')
  stream.frame('rowcast:welcome', welcome(more), 'h.1_0')
  await turns()
  return { ...opened, stream, first: fake.request }
}

describe('server-sent events', () => {
  test('the token travels in a header, and events get their id from the bookmark', async () => {
    const { connection, told, stream, first } = await liveBySse({ rooms: ['a'] })
    expect(first.url.href).toBe('http://live.test/sse?rooms=a')
    expect(first.headers.authorization).toBe('Bearer jwt')
    expect(connection.status).toBe('live')
    stream.frame('order', { n: 1 }, 'h.1_0.2_0.77')
    stream.frame('order', { n: 2 }, 'h.2_0.77')
    stream.text('event: note\ndata: "x"\n\n')
    stream.text('id: h.3_0\n\n')
    await turns()
    expect(told.events).toEqual(['77', 'x'])
    expect(connection.bookmark).toBe('h.3_0')
  })

  test('letters that are cut in two bytes arrive whole', async () => {
    const { connection, stream } = await liveBySse()
    const heard = []
    connection.on('n', (data) => heard.push(data))
    const bytes = new TextEncoder().encode('event: n\ndata: "Grün 🙂"\n\n')
    for (const byte of bytes) stream.bytes(new Uint8Array([byte]))
    await turns()
    expect(heard).toEqual(['Grün 🙂'])
  })

  test('retry: is obeyed, and the stream resumes with its bookmark', async () => {
    const { connection, stream, told } = await liveBySse()
    stream.frame('n', 1, 'h.1_0.5')
    stream.text('event: n\nid: h.1_0.6\ndata: 2')
    stream.end()
    await turns()
    expect(connection.status).toBe('recovering')
    expect(told.events).toEqual(['5'])
    await pass(1900)
    expect(fake.requests).toHaveLength(1)
    await pass(200)
    expect(fake.request.query('since')).toBe('h.1_0.5')
  })

  test.each(['overloaded', 'restart'])('%s waits as long as it says', async (code) => {
    const { stream } = await liveBySse()
    stream.text('retry: 4321\n')
    stream.frame('rowcast:error', { type: 'error', code, message: '' })
    stream.end()
    await turns()
    await pass(4200)
    expect(fake.requests).toHaveLength(1)
    await pass(200)
    expect(fake.requests).toHaveLength(2)
  })

  test('token-expired ends with another token only', async () => {
    const { connection, stream } = await liveBySse()
    stream.frame('rowcast:error', { type: 'error', code: 'token-expired', message: '' })
    stream.end()
    await turns()
    await pass(60_000)
    expect([connection.status, fake.requests.length]).toEqual(['refused', 1])
  })

  test.each([[403, 'forbidden-origin'], [429, 'too-many-connections']])('%i %s is final', async (status, code) => {
    const { connection } = open(fake, { transports: ['sse'] })
    await turns()
    fake.request.json({ error: { code, message: 'no' } }, status)
    await turns()
    await pass(600_000)
    expect([connection.status, connection.reason, fake.requests.length]).toEqual(['refused', 'no', 1])
  })

  test('rooms: the stream is opened anew beside the old one, which goes on until then', async () => {
    const { connection, stream, told, first } = await liveBySse()
    await pass(1000)
    const asked = connection.subscribe(['a', 'b'])
    await turns()
    expect(first.wasAborted).toBe(false)
    expect([fake.request.query('rooms'), fake.request.query('since')]).toEqual(['a,b', 'h.1_0'])
    stream.frame('n', 1, 'h.1_0.5')
    await turns()
    const second = fake.request.stream()
    second.frame('rowcast:welcome', welcome({ rooms: ['user:1', 'a'] }), 'h.1_0')
    second.frame('rowcast:error', { type: 'error', code: 'forbidden', message: 'no', room: 'b' })
    second.frame('rowcast:subscribed', { type: 'subscribed', rooms: ['user:1', 'a'], outcome: 'recovered', count: 1, bookmark: 'h.1_0' }, 'h.1_0')
    second.frame('n', 1, 'h.1_0.5')
    await turns()
    expect(first.wasAborted).toBe(true)
    expect(await asked).toMatchObject({ rooms: ['a'], refused: [{ room: 'b', code: 'forbidden' }] })
    expect(told.events).toEqual(['5'])
    expect(told.statuses.filter((status) => status === 'recovering')).toEqual([])
    await pass(5000)
    expect(fake.requests).toHaveLength(2)
  })

  test('a token is renewed by a new stream', async () => {
    let number = 0
    const { first } = await liveBySse({ token: async () => `t${++number}` }, { expiresAt: Math.floor(Date.now() / 1000) + 300, heartbeat: 0 })
    await pass(212_000)
    expect(fake.request.headers.authorization).toBe('Bearer t2')
    fake.request.stream().frame('rowcast:welcome', welcome(), 'h.1_0')
    await turns()
    expect(first.wasAborted).toBe(true)
  })
})

describe('long poll', () => {
  const answer = (more = {}) => ({ outcome: 'live', user: '1', rooms: ['user:1'], events: [], bookmark: 'h.1_0', more: false, errors: [], ...more })

  test('asks at once, then waits, each time from the last bookmark', async () => {
    const { connection, told } = open(fake, { transports: ['poll'], rooms: ['a'] })
    await turns()
    expect([fake.request.query('wait'), fake.request.query('since')]).toEqual(['0', null])
    fake.request.json(answer())
    await turns()
    expect([connection.status, connection.transport]).toEqual(['live', 'poll'])
    expect([fake.request.query('wait'), fake.request.query('since')]).toEqual(['25', 'h.1_0'])
    fake.request.json(answer({ events: [event(1), { type: 'gap', rooms: ['a'], reason: 'trigger', bookmark: 'h.2_0' }], bookmark: 'h.3_0' }))
    await turns()
    expect(told.events).toEqual(['1'])
    expect(told.gaps).toMatchObject([{ rooms: ['a'] }])
    expect(fake.request.query('since')).toBe('h.3_0')
  })

  test('asks for a load until its answer came, and then for its rooms as for all', async () => {
    const settings = { ...connectSettings(), fetch: fake.fetch }
    const frames = []
    const opening = { rooms: ['a'], since: 'h.1_0', load: ['b', 'c'], from: 'h.0_0' }
    const { poll } = await import('../src/poll.js')
    const wire = poll({ settings, token: 'T', opening, frame: (frame) => void frames.push(frame), end: () => {} })
    const asked = () => ['rooms', 'since', 'load', 'from'].map((name) => fake.request.query(name))
    await turns()
    expect(asked()).toEqual(['a', 'h.1_0', 'b,c', 'h.0_0'])
    // What was missed filled the answer.
    fake.request.json(answer({ outcome: 'recovered', events: [event(1)], bookmark: 'h.2_0', more: true }))
    await turns()
    expect(frames.find(({ type }) => type === 'subscribed')).toMatchObject({ count: Infinity })
    expect(frames.filter(({ type }) => type === 'heartbeat')).toEqual([])
    expect(asked()).toEqual(['a', 'h.2_0', 'b,c', 'h.0_0'])
    const load = { type: 'subscribed', id: 'load', rooms: ['b', 'c'], outcome: 'recovered', count: 1, bookmark: 'h.0_0' }
    fake.request.json(answer({ outcome: 'recovered', events: [event(2), load, event(3)], bookmark: 'h.3_0' }))
    await turns()
    expect(frames.filter(({ type }) => type === 'event').map(({ id }) => id)).toEqual(['1', '2', '3'])
    expect(asked()).toEqual(['a,b,c', 'h.3_0', null, null])
    wire.close()
  })

  test('an error with each answer: a room that was refused is not asked for again', async () => {
    const { connection, told } = open(fake, { transports: ['poll'], rooms: ['a', 'b'] })
    await turns()
    const refused = { type: 'error', code: 'forbidden', message: 'no', room: 'b' }
    for (let i = 0; i < 4; i++) {
      expect(fake.request.query('rooms')).toBe(i ? 'a' : 'a,b')
      fake.request.json(answer({ errors: fake.request.query('rooms').includes('b') ? [refused] : [], events: i ? [event(i)] : [] }))
      await turns()
    }
    expect(told.errors).toHaveLength(1)
    connection.close()
  })

  test('what was missed is counted without the load behind it', async () => {
    const frames = []
    const opening = { rooms: ['a'], since: 'h.1_0', load: ['b'], from: 'h.0_0' }
    const { poll } = await import('../src/poll.js')
    const wire = poll({ settings: { ...connectSettings(), fetch: fake.fetch }, token: 'T', opening, frame: (frame) => void frames.push(frame), end: () => {} })
    await turns()
    const load = { type: 'subscribed', id: 'load', rooms: ['b'], outcome: 'recovered', count: 2, bookmark: 'h.0_0' }
    fake.request.json(answer({ outcome: 'recovered', events: [event(1), load, event(2), event(3)], bookmark: 'h.3_0' }))
    await turns()
    expect(frames.filter(({ type }) => type === 'subscribed').map(({ id, count }) => [id, count])).toEqual([[undefined, 1], ['load', 2]])
    expect(fake.request.query('rooms')).toBe('a,b')
    wire.close()
  })

  test('zero-delay loops: nothing answered at once is not asked again at once', async () => {
    fake.onrequest = (request) => request.json(answer())
    open(fake, { transports: ['poll'] })
    await pass(20_000)
    expect(fake.requests.length).toBeLessThan(25)
  })

  test('a flood of warnings: Node counts who listens for an end, so each question has one of its own', async () => {
    const { connection } = open(fake, { transports: ['poll'] })
    for (const id of [1, 2, 3]) {
      await turns()
      fake.request.json(answer({ events: [event(id)] }))
    }
    await turns()
    connection.close()
    const signals = fake.requests.map(({ options }) => options.signal)
    expect(new Set(signals).size).toBe(4)
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false, true])
  })

  test('503 waits for Retry-After, and a poll that is never answered is given up', async () => {
    const { connection } = open(fake, { transports: ['poll'] })
    await turns()
    fake.request.json({ error: { code: 'overloaded', message: 'later' } }, 503, { 'retry-after': '7' })
    await turns()
    await pass(6900)
    expect(fake.requests).toHaveLength(1)
    await pass(200)
    fake.request.json(answer())
    await turns()
    await pass(36_000)
    expect(connection.status).not.toBe('live')
  })

  test('so is one whose answer stops in the middle', async () => {
    open(fake, { transports: ['poll'] })
    await turns()
    fake.request.stream().text('{"outcome":"li')
    await turns()
    await pass(9000)
    expect(fake.requests).toHaveLength(1)
    await pass(2000)
    expect([fake.requests[0].wasAborted, fake.requests.length]).toEqual([true, 2])
  })

  test('false caught-up: it is live only with the last of several answers', async () => {
    const { connection, told } = open(fake, { transports: ['poll'], since: 'h.0_0' })
    await turns()
    const say = async (ids, more) => {
      fake.request.json(answer({ outcome: 'recovered', events: ids.map((id) => event(id)), bookmark: `h.1_0.${ids.at(-1)}`, more }))
      await turns()
      return connection.status
    }
    expect([await say([1, 2], true), await say([3, 4], true), await say([5], false)]).toEqual(['recovering', 'recovering', 'live'])
    expect(told.events).toEqual(['1', '2', '3', '4', '5'])
    expect(fake.requests.map((request) => request.query('since'))).toEqual(['h.0_0', 'h.1_0.2', 'h.1_0.4', 'h.1_0.5'])
  })

  test('a gap has the place behind it: what was asked for stands before it', async () => {
    const { told } = open(fake, { transports: ['poll'], since: 'h.0_0' })
    await turns()
    fake.request.json(answer({ outcome: 'gap', reason: 'horizon', bookmark: 'h.7_0' }))
    await turns()
    fake.request.json(answer({ outcome: 'gap', reason: 'history', bookmark: 'i.1_0' }))
    await turns()
    expect(told.gaps.map(({ reason, bookmark }) => [reason, bookmark])).toEqual([['horizon', 'h.7_0'], ['history', 'i.1_0']])
    await pass(1000)
    expect(fake.request.query('since')).toBe('i.1_0')
  })
})

describe('moving down and up', () => {
  test('an upgrade that is refused: SSE at once, remembered', async () => {
    const kept = storage()
    const { connection } = open(fake, { storage: kept })
    await settle()
    fake.socket.cut(1006)
    await turns()
    expect(fake.request.url.pathname).toBe('/sse')
    fake.request.stream().frame('rowcast:welcome', welcome(), 'h.1_0')
    await turns()
    expect(connection.transport).toBe('sse')
    expect(Object.values(kept.kept)).toEqual(['sse'])
  })

  test('an upgrade that is never answered, and a stream that is buffered: poll after their deadlines', async () => {
    const { connection } = open(fake)
    await pass(10_000)
    await turns()
    expect(fake.socket.wasClosed).toBe(true)
    fake.to('/sse')[0].stream()
    await pass(10_000)
    await turns()
    expect(fake.to('/sse')[0].wasAborted).toBe(true)
    fake.to('/poll')[0].json({ outcome: 'live', rooms: [], events: [], bookmark: 'h.1_0' })
    await turns()
    expect([connection.status, connection.transport]).toEqual(['live', 'poll'])
  })

  test('a proxy’s page in the place of a stream is no stream', async () => {
    open(fake, { transports: ['sse', 'poll'] })
    await turns()
    fake.request.status(200, '<html>please log in</html>', { 'content-type': 'text/html' })
    await turns()
    expect(fake.request.url.pathname).toBe('/poll')
  })

  test('a server that is down is no reason to leave what worked: after it, WebSocket again', async () => {
    const { connection, socket } = await live(fake)
    fake.onrequest = (request) => request.fail()
    await pass(6000)
    socket.say({ type: 'heartbeat', bookmark: 'h.1_0' })
    fake.onsocket = (next) => queueMicrotask(() => next.cut())
    socket.cut()
    await pass(60_000)
    await turns()
    expect(connection.status).toBe('offline')
    fake.onsocket = (next) => queueMicrotask(() => next.say(welcome()))
    await pass(40_000)
    expect(connection.transport).toBe('websocket')
  })

  test('without WebSocket it begins with SSE', async () => {
    open(fake, { WebSocket: null })
    await turns()
    expect(fake.request.url.pathname).toBe('/sse')
  })

  test('the better one is tried again beside the working one, ever more rarely, and nothing is lost or twice', async () => {
    const { connection, told } = open(fake, { storage: storage({ 'rowcast:http://live.test': 'sse' }) })
    await turns()
    expect(fake.sockets).toHaveLength(0)
    const stream = fake.request.stream()
    stream.frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    await turns()
    fake.onsocket = (socket) => queueMicrotask(() => socket.cut(1006))
    await pass(600_000)
    expect(fake.sockets.length).toBeGreaterThan(3)
    expect(fake.sockets.length).toBeLessThan(9)
    expect([connection.status, fake.requests.length]).toEqual(['live', 1])
    stream.frame('n', 1, 'h.1_0.1')
    await turns()
    fake.onsocket = (socket) => {
      stream.frame('n', 2, 'h.1_0.2')
      setTimeout(() => {
        const subscribed = { type: 'subscribed', rooms: [], outcome: 'recovered', count: 2, bookmark: 'h.1_0.1' }
        socket.say(welcome({ heartbeat: 0 }), subscribed, event(2), event(3))
      }, 5000)
    }
    await pass(1_000_000)
    await turns()
    expect(fake.socket.query('since')).toBe('h.1_0.1')
    expect([connection.transport, connection.status]).toEqual(['websocket', 'live'])
    expect(fake.requests[0].wasAborted).toBe(true)
    expect(told.events).toEqual(['1', '2', '3'])
  })

  test('twice after a gap: only one of the history makes it forget ids', async () => {
    const { connection, told } = open(fake, { transports: ['websocket', 'sse'], storage: storage({ 'rowcast:http://live.test': 'sse' }) })
    await turns()
    const stream = fake.request.stream()
    stream.frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    await turns()
    while (!fake.socket) await pass(100)
    stream.frame('n', 1, 'h.1_0.1')
    stream.frame('rowcast:gap', { type: 'gap', rooms: ['user:1'], reason: 'overflow', bookmark: 'h.2_0' }, 'h.2_0')
    await turns()
    fake.socket.say(welcome({ heartbeat: 0 }), { type: 'subscribed', rooms: ['user:1'], outcome: 'recovered', count: 1, bookmark: 'h.1_0' }, event(1))
    await settle()
    expect(told.events).toEqual(['1'])
    connection.close()
  })

  test('stays on SSE: rooms that come and go do not put the better one off', async () => {
    const { connection } = open(fake, { storage: storage({ 'rowcast:http://live.test': 'sse' }) })
    fake.onrequest = (request) => request.stream().frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    fake.onsocket = (socket) => queueMicrotask(() => socket.cut(1006))
    await turns()
    for (let second = 0; second < 60; second += 1) {
      if (second % 2) connection.unsubscribe('a')
      else void connection.subscribe('a')
      await turns()
      await pass(1000)
    }
    expect(fake.requests.length).toBeGreaterThan(20)
    // After 11 s, and 22 s later.
    expect(fake.sockets).toHaveLength(2)
    connection.close()
  })

  test('flickers for ever: one that is let in and then cut is tried ever more rarely, and not remembered', async () => {
    const kept = storage({ 'rowcast:http://live.test': 'sse' })
    const { connection } = open(fake, { storage: kept })
    fake.onrequest = (request) => request.stream().frame('rowcast:welcome', welcome({ heartbeat: 0 }), 'h.1_0')
    fake.onsocket = (socket) => {
      queueMicrotask(() => socket.say(welcome({ heartbeat: 0 })))
      setTimeout(() => socket.cut(1006), 2000)
    }
    await turns()
    const tries = async () => {
      const before = fake.sockets.length
      await pass(300_000)
      return fake.sockets.length - before
    }
    const [first, second, third] = [await tries(), await tries(), await tries()]
    expect(first).toBeLessThan(12)
    expect(second + third).toBeLessThan(first)
    expect(Object.values(kept.kept)).toEqual(['sse'])
    connection.close()
  })
})

describe('waking', () => {
  test('online shortens our own pause, but makes no loop', async () => {
    fake.onsocket = (socket) => queueMicrotask(() => socket.cut())
    open(fake, { transports: ['websocket'] })
    await pass(60_000)
    const before = fake.sockets.length
    await pass(1500)
    for (let i = 0; i < 50; i++) {
      ears.online()
      await settle()
    }
    expect(fake.sockets.length - before).toBeLessThanOrEqual(2)
    expect(fake.sockets.length - before).toBeGreaterThanOrEqual(1)
  })

  test('a network that returns at once is not waited for a whole pause', async () => {
    const { socket } = await live(fake, { transports: ['websocket'], retryMin: 60_000, retryMax: 60_000 })
    socket.cut()
    await pass(300)
    ears.online()
    await pass(500)
    expect(fake.sockets).toHaveLength(1)
    await pass(400)
    expect(fake.sockets).toHaveLength(2)
  })

  test('a page that is seen again doubts its link, and leaves a dead one within seconds', async () => {
    const { connection, socket } = await live(fake)
    ears.pageshow()
    expect(socket.said('ping')).toHaveLength(1)
    await pass(3100)
    expect(connection.status).toBe('recovering')
    await pass(1000)
    expect(fake.sockets).toHaveLength(2)
  })

  test('close() takes its ears away', async () => {
    const { connection } = await live(fake)
    expect(ears.online).toBeDefined()
    connection.close()
    expect(Object.keys(ears)).toEqual([])
  })
})
