// Durable readers: how they open, what they are told, and that the last word gets through.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { event, open, pass, server, settle, turns, welcome } from './fake.js'

let fake
beforeEach(() => {
  vi.useFakeTimers()
  fake = server()
})
afterEach(() => vi.useRealTimers())

const outcome = (more) => ({ type: 'subscribed', rooms: ['user:1'], bookmark: 'h.1_0', ...more })

/** Live by a durable name, over a WebSocket. */
async function reading(options = {}, answer = { outcome: 'recovered', count: 0 }) {
  const opened = open(fake, { reader: 'a b', ...options })
  await settle()
  fake.socket.say(welcome(), outcome(answer))
  await settle()
  return { ...opened, socket: fake.socket }
}

/** What a promise came to, so far. */
function watch(promise) {
  const seen = { state: 'pending' }
  promise.then(
    (value) => Object.assign(seen, { state: 'resolved', value }),
    (error) => Object.assign(seen, { state: 'rejected', code: error.code }),
  )
  return seen
}

describe('a durable name', () => {
  test('stands in the address, and the connection is live only with all that it lacks', async () => {
    const { connection, told } = open(fake, { reader: 'a b' })
    await settle()
    expect(fake.socket.query('reader')).toBe('a b')
    expect(fake.socket.query('since')).toBe(null)
    fake.socket.say(welcome())
    expect(connection.status).toBe('recovering')
    fake.socket.say(outcome({ outcome: 'recovered', count: 2, bookmark: 'h.0_0' }), event(1))
    expect(connection.status).toBe('recovering')
    fake.socket.say(event(2))
    expect(connection.status).toBe('live')
    expect(told.events).toEqual(['1', '2'])
    expect(told.gaps).toEqual([])
    connection.close()
  })

  test('that nobody knows is told as a gap, once, and live at once', async () => {
    const { connection, told, socket } = await reading({}, { outcome: 'live' })
    expect(connection.status).toBe('live')
    expect(told.gaps).toEqual([{ rooms: ['*'], reason: 'reader', bookmark: 'h.1_0' }])
    // Home rooms of a new token are answered in the same way, and are no news about the name.
    socket.say(outcome({ outcome: 'live' }))
    expect(told.gaps).toHaveLength(1)
    connection.close()
  })

  test('a link that comes back brings what it remembers, and the name', async () => {
    const { connection, socket } = await reading()
    socket.say(event(7))
    socket.cut()
    await pass(1000)
    expect(fake.socket).not.toBe(socket)
    expect([fake.socket.query('since'), fake.socket.query('reader')]).toEqual(['h.1_0.7', 'a b'])
    connection.close()
  })

  test('rooms that were asked for before the answer are granted by it', async () => {
    const { connection } = open(fake, { reader: 'a' })
    const joined = watch(connection.subscribe('lab:1'))
    await settle()
    fake.socket.say(welcome({ rooms: ['lab:1'] }))
    await settle()
    expect(joined.state).toBe('pending')
    fake.socket.say(outcome({ rooms: ['lab:1'], outcome: 'recovered', count: 0 }))
    await settle()
    expect(joined.value.outcome).toBe('recovered')
    connection.close()
  })

  test('over a poll the events come before the place behind them', async () => {
    const { connection, told } = open(fake, { reader: 'a', transports: ['poll'] })
    connection.on('thing', () => connection.close())
    await settle()
    expect(fake.request.query('reader')).toBe('a')
    fake.request.json({ outcome: 'recovered', user: '1', rooms: [], events: [event(1), event(2)], errors: [], bookmark: 'h.9_0', more: false })
    await settle()
    // Closed in the middle: it stands where it was handed events to.
    expect(told.events).toEqual(['1'])
    expect(connection.bookmark).toBe('h.1_0.1')
  })

  test('unacknowledged gap: over a poll, too, it has a place', async () => {
    for (const answer of [{ outcome: 'live' }, { outcome: 'gap', reason: 'horizon' }]) {
      const { connection, told } = open(fake, { reader: 'a', transports: ['poll'] })
      await settle()
      fake.request.json({ ...answer, user: '1', rooms: [], events: [], errors: [], bookmark: 'h.9_0', more: false })
      await settle()
      expect(told.gaps).toMatchObject([{ bookmark: 'h.9_0' }])
      connection.close()
    }
  })

  test('over a poll it is live when all has come, and stands nowhere before', async () => {
    const answer = { outcome: 'recovered', user: '1', rooms: [], events: [event(1), event(2)], errors: [], bookmark: 'h.9_0', more: false }
    const { connection, told } = open(fake, { reader: 'a', transports: ['poll'] })
    const left = open(fake, { reader: 'a', transports: ['poll'] }).connection
    left.on('status', ({ status }) => status === 'recovering' && left.close())
    await settle()
    fake.requests.forEach((request) => request.json(answer))
    await settle()
    expect([connection.status, connection.bookmark, told.events]).toEqual(['live', 'h.9_0', ['1', '2']])
    expect([left.status, left.bookmark]).toEqual(['offline', undefined])
    connection.close()
  })
})

describe('ack', () => {
  test('goes in a frame, and resolves with what is stored', async () => {
    const { connection, socket } = await reading()
    const seen = watch(connection.ack(event(3)))
    await settle()
    const [said] = socket.said('ack')
    expect(said.bookmark).toBe('h.1_0.3')
    socket.say({ type: 'acked', id: said.id, bookmark: 'h.1_0.5' })
    await settle()
    expect(seen).toEqual({ state: 'resolved', value: 'h.1_0.5' })
    // What is stored is not where the stream stands.
    expect(connection.bookmark).toBe('h.1_0')
    connection.close()
  })

  test('one at a time: of what comes meanwhile the last is told, and answers all', async () => {
    const { connection, socket } = await reading()
    const seen = [1, 2, 3, 4].map((id) => watch(connection.ack(`h.1_0.${id}`)))
    await settle()
    expect(socket.said('ack').map(({ bookmark }) => bookmark)).toEqual(['h.1_0.1'])
    socket.say({ type: 'acked', id: socket.said('ack')[0].id, bookmark: 'h.1_0.1' })
    await settle()
    expect(socket.said('ack').map(({ bookmark }) => bookmark)).toEqual(['h.1_0.1', 'h.1_0.4'])
    expect(seen.map(({ state }) => state)).toEqual(['resolved', 'pending', 'pending', 'pending'])
    socket.say({ type: 'acked', id: socket.said('ack')[1].id, bookmark: 'h.1_0.4' })
    await settle()
    expect(seen.map(({ value }) => value)).toEqual(['h.1_0.1', 'h.1_0.4', 'h.1_0.4', 'h.1_0.4'])
    connection.close()
  })

  test('goes by POST where the link only speaks one way', async () => {
    const { connection } = open(fake, { reader: 'a/b', transports: ['sse'] })
    await settle()
    const stream = fake.request.stream()
    stream.frame('rowcast:welcome', welcome(), 'h.1_0')
    stream.frame('rowcast:subscribed', outcome({ outcome: 'recovered', count: 0 }), 'h.1_0')
    await settle()
    const seen = watch(connection.ack({ bookmark: 'h.1_0.3' }))
    await settle()
    expect(fake.request.url.pathname).toBe('/ack/a%2Fb')
    expect(fake.request.options.body).toBe('{"bookmark":"h.1_0.3"}')
    fake.request.json({ bookmark: 'h.1_0.3' })
    await settle()
    expect(seen.value).toBe('h.1_0.3')
    connection.close()
  })

  test('false forgotten: while nobody can be reached the last is kept, and told with the next link', async () => {
    const { connection, socket } = await reading()
    fake.onrequest = (request) => request.fail()
    socket.cut()
    const seen = [1, 2].map((id) => watch(connection.ack(`h.1_0.${id}`)))
    await pass(400)
    expect(seen.map(({ state }) => state)).toEqual(['pending', 'pending'])
    const last = watch(connection.ack('h.1_0.3'))
    await pass(2000)
    fake.onrequest = undefined
    const posts = fake.to('/ack/a%20b').length
    expect(posts).toBeGreaterThan(0)
    fake.socket.say(welcome(), outcome({ outcome: 'recovered', count: 0 }))
    await settle()
    const [said, ...more] = fake.socket.said('ack')
    expect([said.bookmark, more]).toEqual(['h.1_0.3', []])
    fake.socket.say({ type: 'acked', id: said.id, bookmark: 'h.1_0.3' })
    await settle()
    expect([...seen, last].map(({ value }) => value)).toEqual(['h.1_0.3', 'h.1_0.3', 'h.1_0.3'])
    await pass(60_000)
    expect(fake.to('/ack/a%20b')).toHaveLength(posts)
    connection.close()
  })

  test('one that was under way when the link was lost is told again, unless there is a newer', async () => {
    const { connection, socket } = await reading()
    const seen = watch(connection.ack('h.1_0.1'))
    await settle()
    fake.onrequest = (request) => request.fail()
    socket.cut()
    await pass(1500)
    fake.socket.say(welcome(), outcome({ outcome: 'recovered', count: 0 }))
    await settle()
    expect(fake.socket).not.toBe(socket)
    expect(fake.socket.said('ack').map(({ bookmark }) => bookmark)).toEqual(['h.1_0.1'])
    fake.socket.say({ type: 'acked', id: fake.socket.said('ack')[0].id, bookmark: 'h.1_0.1' })
    await settle()
    expect(seen.state).toBe('resolved')
    connection.close()
  })

  test('false told: one that found the server busy gives way to what was said meanwhile', async () => {
    const { connection, socket } = await reading()
    const seen = [1, 2].map((id) => watch(connection.ack(`h.1_0.${id}`)))
    await settle()
    socket.say({ type: 'error', id: socket.said('ack')[0].id, code: 'overloaded', message: 'busy' })
    await pass(1000)
    expect(socket.said('ack').map(({ bookmark }) => bookmark)).toEqual(['h.1_0.1', 'h.1_0.2'])
    socket.say({ type: 'acked', id: socket.said('ack')[1].id, bookmark: 'h.1_0.2' })
    await settle()
    expect(seen.map(({ value }) => value)).toEqual(['h.1_0.2', 'h.1_0.2'])
    connection.close()
  })

  test('false told: one whose answer was cut in its middle is told again', async () => {
    const { connection } = open(fake, { reader: 'r', since: 'h.0_0', transports: ['poll'] })
    const stored = connection.ack('h.1_0.5')
    await turns()
    const [first] = fake.to('/ack/r')
    const half = first.stream()
    half.text('{"bookmark":')
    half.fail()
    await turns()
    await pass(1000)
    await turns()
    const [, second] = fake.to('/ack/r')
    second.json({ bookmark: 'h.1_0.5' })
    expect(await stored).toBe('h.1_0.5')
    connection.close()
  })

  test('a busy server is asked again after a pause, not at once', async () => {
    const { connection, socket } = await reading()
    const seen = watch(connection.ack('h.1_0.1'))
    for (let times = 1; times <= 3; times += 1) {
      await pass(times === 1 ? 0 : 5000)
      expect(socket.said('ack')).toHaveLength(times)
      socket.say({ type: 'error', id: socket.said('ack').at(-1).id, code: 'overloaded', message: 'busy' })
      await pass(99)
      expect(socket.said('ack')).toHaveLength(times)
    }
    expect(seen.state).toBe('pending')
    connection.close()
  })

  test('asked without pause: a busy server is left alone, however often is acknowledged', async () => {
    const { connection } = await reading()
    for (let i = 1; i <= 50; i++) {
      connection.ack(`h.1_0.${i}`).catch(() => {})
      await settle()
      const said = fake.socket.said('ack').at(-1)
      fake.socket.say({ type: 'error', id: said.id, code: 'overloaded', message: 'busy', retryMs: 5000 })
      await pass(10)
    }
    expect(fake.socket.said('ack').length).toBeLessThan(4)
    connection.close()
  })

  test('what the server refuses for good is rejected, and the next is told', async () => {
    const { connection, socket, told } = await reading()
    const seen = watch(connection.ack('h.9_0'))
    const next = watch(connection.ack('h.1_0.2'))
    await settle()
    socket.say({ type: 'error', id: socket.said('ack')[0].id, code: 'bad-bookmark', message: 'elsewhere' })
    await settle()
    expect(seen).toEqual({ state: 'rejected', code: 'bad-bookmark' })
    expect(socket.said('ack')).toHaveLength(2)
    socket.say({ type: 'acked', id: socket.said('ack')[1].id, bookmark: 'h.1_0.2' })
    await settle()
    expect(next.state).toBe('resolved')
    expect(told.errors).toEqual([])
    connection.close()
  })

  test('without a name, or of an event that has no place, it is rejected', async () => {
    const { connection } = open(fake)
    const named = open(fake, { reader: 'a' }).connection
    const seen = [watch(connection.ack('h.1_0')), watch(named.ack({ name: 'notified' }))]
    await settle()
    expect(seen.map(({ code }) => code)).toEqual(['no-reader', 'bad-bookmark'])
    connection.close()
    named.close()
  })
})
