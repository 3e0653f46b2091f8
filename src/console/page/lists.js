// Connections, rooms, refusals, failures and facts, as rows.

import { TRANSPORTS, bytes, byId, clock, count, make, otherLeader, percent, plural, time } from './format.js'
import { headers } from './session.js'

/** Shows rows, or what it means that there are none. */
function fill(id, rows) {
  byId(id).replaceChildren(...rows)
  byId(`${id}-empty`).hidden = rows.length > 0
}

export class Lists {
  #now = null
  #found = null
  #asking = false

  constructor({ wantRoom }) {
    byId('find').addEventListener('input', () => this.#search())
    byId('rooms').addEventListener('click', (event) => {
      const room = event.target.closest('button')?.dataset.room
      if (room) wantRoom(room)
    })
  }

  show(now) {
    this.#now = now
    this.#showConnections()
    this.#showRooms(now.rooms)
    fill('recent', now.recent.map(turn))
    fill('failures', (now.database?.failures ?? []).map(failure).concat((now.database?.drift ?? []).map(drift)))
    this.#showFacts(now)
    if (byId('find').value.trim()) this.#search()
  }

  find(word) {
    byId('find').value = word
    this.#search()
  }

  /** Asks for those who fit: the list holds only the worst. One question at a time. */
  async #search() {
    const word = byId('find').value.trim()
    if (!word) {
      this.#found = null
      this.#showConnections()
      return
    }
    if (this.#asking) return
    this.#asking = true
    try {
      const answer = await fetch(`console/connections?find=${encodeURIComponent(word)}`, { headers: headers(), cache: 'no-store' })
      this.#found = answer.ok ? await answer.json() : null
    } catch {
      this.#found = null
    }
    this.#asking = false
    if (byId('find').value.trim() === word) this.#showConnections()
    else this.#search()
  }

  #showConnections() {
    const { connections, at, node } = this.#now ?? {}
    if (!connections) return
    const shown = this.#found ?? connections
    const searching = byId('find').value.trim() !== ''
    byId('connections').tBodies[0].replaceChildren(...shown.list.map((one) => connection(one, at, node.limits)))
    byId('connections').hidden = shown.list.length === 0
    const empty = byId('connections-empty')
    empty.hidden = shown.list.length > 0
    empty.textContent = searching ? 'Nobody here fits. A room is found by its whole name.' : 'Nobody is connected to this node.'
    byId('connections-count').textContent = searching ? `${count(shown.count)} of ${count(connections.count)}` : count(connections.count)
    const more = shown.count - shown.list.length
    byId('connections-note').textContent = more > 0
      ? `${count(shown.list.length)} are shown, ${count(more)} more are not: the slow ones first. Search finds the others.`
      : 'The slow ones first, then those for whom most waits, then the youngest.'
  }

  #showRooms({ count: all, list }) {
    byId('rooms-count').textContent = count(all)
    const most = Math.max(1, ...list.map(([, size]) => size))
    fill('rooms', list.map(([room, size]) => {
      const bar = make('i', { 'aria-hidden': 'true' })
      bar.style.width = `${(100 * size) / most}%`
      const name = room === '*' ? '* (everybody)' : room
      return make('li', {}, bar, make('button', { 'data-room': room, title: `Show who is in ${room}` }, name), make('b', {}, count(size)))
    }))
  }

  #showFacts({ node, database, totals }) {
    const log = database?.log
    const { leader } = database ?? {}
    const stranger = leader && !leader.name ? `process ${leader.pid}` : 'nobody'
    const facts = [
      ['Node', `${node.name}, version ${node.version}, up ${time(node.uptime * 1000)}`],
      ['Leader', node.leads ? 'this node leads' : otherLeader(node, leader) ?? stranger],
      ['Doorbell', node.doorbell ? `${node.doorbell}; writers ${node.rings ? 'ring' : 'are silent'}` : 'unknown'],
      ['Event log', log ? `about ${count(log.events)} events, ${bytes(log.bytes)} of ${bytes(log.keepBytes)}, kept for ${time(log.keepFor * 1000)}` : '–'],
      ['Reaches back', log?.age != null ? time(log.age * 1000) : 'the log is empty'],
      ['Resumes', `${count(totals.ringReplays)} from memory, ${count(totals.logReplays)} from the log`],
      ['Gaps told', count(totals.gaps)],
      ['Database lost', `${plural(totals.listenerLosses, 'time')}, attempts to come back included`],
      ['Closed', words(totals.closes)],
      ['Refused', words(totals.refusals)],
      ['Watching', `${plural(node.watchers, 'console')} on this node`],
    ]
    byId('facts').replaceChildren(...facts.map(([name, value]) =>
      make('div', {}, make('dt', {}, name), make('dd', {}, value))))
  }
}

function words(counts) {
  const entries = Object.entries(counts).sort(([, one], [, other]) => other - one)
  return entries.length ? entries.map(([word, number]) => `${word} ${count(number)}`).join(', ') : 'nobody'
}

function connection(one, now, limits) {
  const named = one.named.join(', ')
  const more = one.rooms - one.named.length
  const rooms = one.rooms ? named + (more > 0 ? ` and ${more} more` : '') : 'none but *'
  const state = one.slow ? `slow for ${time(now - one.slow)}` : 'keeps up'
  return make('tr', { 'data-slow': one.slow ? true : null },
    make('th', { scope: 'row', title: `connection ${one.connection}` }, one.user ?? make('span', { class: 'soft' }, 'anonymous')),
    make('td', { 'data-label': 'Address' }, one.address),
    make('td', { 'data-label': 'By' }, TRANSPORTS[one.transport] ?? one.transport),
    make('td', { 'data-label': 'Rooms', class: 'names', title: rooms }, rooms),
    make('td', { 'data-label': 'Age', class: 'number' }, time(now - one.since)),
    make('td', { 'data-label': 'Waiting', class: 'number' }, one.queue ? `${bytes(one.queue)} (${percent(one.queue / limits.queueBytes)})` : '0'),
    make('td', { 'data-label': 'Behind', class: 'number' }, one.behind ? time(one.behind) : '0'),
    make('td', { 'data-label': 'State' }, make('span', { class: 'state', 'data-level': one.slow ? 'warn' : 'well' }, state)))
}

function turn({ at, what, transport, word, detail, address, user, status, close }) {
  const code = transport === 'websocket' ? close : what === 'refused' ? status : null
  const who = [user && `user ${user}`, address, TRANSPORTS[transport] ?? transport].filter(Boolean).join(' · ')
  return make('li', {},
    make('time', {}, clock(at)),
    make('span', { class: 'state', 'data-level': what === 'refused' ? 'bad' : 'warn' }, what),
    make('b', {}, word, code ? make('span', { class: 'soft' }, ` ${code}`) : null),
    make('span', { class: 'soft' }, who),
    what === 'refused' && detail ? make('p', {}, detail) : null)
}

function failure({ at, channel, relation, operation, sqlstate, message }) {
  return make('li', {},
    make('time', { title: new Date(at).toLocaleString() }, clock(at)),
    make('span', { class: 'state', 'data-level': 'bad' }, sqlstate),
    make('b', {}, `${operation} on ${relation}`),
    make('span', { class: 'soft' }, `channel ${channel}`),
    make('p', {}, message))
}

function drift({ relation, operation, state }) {
  return make('li', {},
    make('time', {}, 'now'),
    make('span', { class: 'state', 'data-level': 'warn' }, state),
    make('b', {}, `${operation} on ${relation}`),
    make('span', { class: 'soft' }, 'an attachment that is not in force'))
}
