/** Checked by tsc, never run: what must compile, and what must not. */
import type { Connection } from '../src/types.d.ts'

declare const connect: typeof import('../src/types.d.ts').connect
declare const RowcastError: typeof import('../src/types.d.ts').RowcastError
declare const useLive: typeof import('../src/react.d.ts').useLive
declare const useRoom: typeof import('../src/react.d.ts').useRoom
declare const useRowcast: typeof import('../src/react.d.ts').useRowcast
declare const useStatus: typeof import('../src/react.d.ts').useStatus

interface Events {
  'booking:created': { bookingId: number }
  'slot:updated': { free: number }
}

const connection: Connection<Events> = connect<Events>({ url: 'https://live.example', token: async () => 'jwt' })

connection.on('booking:created', (data, event) => {
  const id: number = data.bookingId
  const name: 'booking:created' = event.name
  return [id, name]
})
// @ts-expect-error the payload has no such field
connection.on('slot:updated', (data) => data.bookingId)
// @ts-expect-error there is no such event
connection.on('slot:update', () => {})
connection.on('status', ({ status }) => {
  const one: 'connecting' | 'live' | 'recovering' | 'offline' | 'refused' = status
  return one
})
connection.on('gap', ({ rooms }) => rooms.map((room) => room.length))
connection.on('error', (error) => error.code === 'forbidden' && error.room)
connection.on('*', (_, event) => {
  if (event.name === 'slot:updated') event.data.free.toFixed()
})

const week = connection.live<number[]>(['lab_week', { lab: 1 }], 'lab:1', (state, event) =>
  event.name === 'booking:created' ? [...state, event.data.bookingId] : state,
)
week.state?.map((id) => id.toFixed())
// @ts-expect-error reduce gives the state
connection.live<number[]>('lab_week', 'lab:1', () => 'text')

connection.call<{ total: number }>('f').then(({ data, bookmark }) => [data.total.toFixed(), bookmark.length])
connection.subscribe(['a'], { since: 'h.1_0' }).then(({ outcome, refused: [first] }) => [outcome === 'gap', first?.code])
connect<Events>({ url: 'http://a', reader: 'orders' }).on('slot:updated', (_, event) => connection.ack(event).then((stored) => stored.length))
connection.on('gap', (gap) => connection.ack(gap))
connection.ack('h.1_0')
// @ts-expect-error that is no place
connection.ack(7)
connect({ url: new URL('https://live.example') })
// @ts-expect-error url is missing
connect({})
// @ts-expect-error no such transport
connect({ url: 'http://a', transports: ['carrier-pigeon'] })

// Whoever takes any connection takes one with a map.
const badge = (any: Connection) => any.on('anything', (data, event) => [data.whatever, event.name.length])
badge(connection)

// Without a map everything is allowed.
connect({ url: 'http://a' }).on('anything', (data) => data.whatever)
connect({ url: 'http://a' }).live(['lab_week', { lab: 1 }], 'lab:1', (state, event) => ({ ...state, [event.data.id]: event.data }))
new RowcastError('code').retryAfter?.toFixed()

export function Component() {
  useRowcast<Events>().on('slot:updated', ({ free }) => free.toFixed())
  useRoom<Events>('lab:1', { 'booking:created': ({ bookingId }) => bookingId.toFixed() })
  // @ts-expect-error there is no such event
  useRoom<Events>('lab:1', { 'booking:removed': () => {} })
  const { state, status } = useLive<number, Events>('f', ['a'], (sum, event) => (event.name === 'slot:updated' ? sum + event.data.free : sum))
  const untyped = useLive('f', ['a'], (state, event) => ({ ...state, [event.data.id]: event.data }))
  return [state?.toFixed(), status, useStatus().reason.length, untyped.state?.whatever]
}

// Lists that are constants.
connect({ url: 'https://live.example', rooms: ['a', 'b'] as const, transports: ['sse', 'poll'] as const })
// @ts-expect-error there is no such transport
connect({ url: 'https://live.example', transports: ['ws'] })
