// An application as people write it, in a page, a worker or Node.js alike: it connects, keeps a
// journal of what its handlers were given, and shows what the wire had carried to that end.
// It must never dedupe, reorder or forgive: the comparison is made elsewhere.
import { tap } from './wiretap.js'

const wire = tap()
const { connect } = await import(globalThis.rowcastClient ?? './client/index.js')

const journal = { heard: [], gaps: [], statuses: [], errors: [], tokens: 0, stale: [], acknowledged: 0, stored: 0, unstored: [] }
let connection
const events = new Map()
let wake = () => {}

// A promise for the moment in which something in the journal makes this true.
function until(fact) {
  return new Promise((done) => {
    const look = () => fact() && done(true)
    const before = wake
    wake = () => { before(); look() }
    look()
  })
}

function write(list, entry) {
  list.push(entry)
  wake()
}

// Connects; claims are the token's, and options whatever else the client takes.
export function start({ url, rooms, issuer, claims, options = {} }) {
  connection = connect({ url, rooms, token: issue(issuer, claims), ...options })
  connection.on('*', (data, event) => write(journal.heard, { ...data, id: event.id, name: event.name }))
  connection.on('*', (_, event) => events.set(event.id, event))
  connection.on('gap', (gap) => write(journal.gaps, gap))
  connection.on('error', (error) => write(journal.errors, { code: error.code, message: error.message, room: error.room }))
  connection.on('status', () => write(journal.statuses, [connection.status, connection.reason, Date.now()]))
}

function issue(issuer, claims) {
  return async () => {
    journal.tokens += 1
    const answer = await fetch(`${issuer}/token?${new URLSearchParams(claims)}`)
    return answer.text()
  }
}

export const subscribe = (rooms, options) => connection.subscribe(rooms, options)
// The same, not waited for: a link may be cut before there is an answer.
export const wish = (rooms, options) => void connection.subscribe(rooms, options).catch((error) => write(journal.errors, { code: error.code }))
export const unsubscribe = (rooms) => connection.unsubscribe(rooms)
export const call = (name, args) => connection.call(name, args)
export const ack = (id) => connection.ack(events.get(id))

// The same for a share of what was heard since, in its order and not waited for.
export function acknowledge(share) {
  const { heard, acknowledged } = journal
  const count = acknowledged + Math.floor((heard.length - acknowledged) * share)
  if (count === acknowledged) return
  journal.acknowledged = count
  connection.ack(events.get(heard[count - 1].id)).then(
    () => { journal.stored = Math.max(journal.stored, count) },
    ({ code }) => write(journal.unstored, code),
  )
}

export const close = () => connection.close()

// The state as of now: where it stands and how much it has heard.
export const glance = () => ({
  status: connection.status,
  reason: connection.reason,
  bookmark: connection.bookmark,
  heard: journal.heard.length,
  arrived: wire.arrived.length,
})

export const report = () => ({ ...journal, ...wire })

export const hears = (id) => until(() => journal.heard.some((event) => event.id === id))
export const hearsMore = (count) => until(() => journal.heard.length >= count)
export const becomes = (status) => until(() => connection.status === status)

// Shop windows: versions by item, as the call reads them and the events change them. What is no newer
// than what they have is in the journal.
const showcases = []
export function watch(call, rooms) {
  showcases.push(connection.live(call, rooms, (items, { data: { item, version } }) => {
    if (version <= items[item]) write(journal.stale, { item, version, had: items[item] })
    return { ...items, [item]: version }
  }))
}

// The last of them begins anew.
export const reload = () => showcases.at(-1)?.reload()

// What each of them shows, once it is up to date.
export const watched = () => Promise.all(showcases.map((showcase) => new Promise((done) => {
  const look = () => showcase.status === 'live' && done(showcase.state)
  showcase.subscribe(look)
  look()
})))

// So many applications at once, with one token, in this one place.
const people = []
export async function gather({ url, rooms, issuer, claims, count, options }) {
  const token = await issue(issuer, claims)()
  while (people.length < count) {
    const person = { times: 0 }
    people.push(person)
    person.connection = connect({ url, rooms, token, ...options })
    person.connection.on('status', ({ status }) => {
      if (status === 'live') person.times += 1
      wake()
    })
  }
}

// Waits until each of them has become live so many times.
export const everybodyIsBack = (times) =>
  until(() => people.every((person) => person.times >= times && person.connection.status === 'live'))
