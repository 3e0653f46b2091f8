// Events as they pass: a stream of its own, with a filter that the server applies.

import { byId, bytes, clock, count, make, plural } from './format.js'
import { Stream } from './stream.js'

const LINES = 200
/** Between the last key and the question. */
const TYPED = 300

export class Tail {
  #paused = false
  #timer = 0

  constructor() {
    this.list = byId('tail')
    this.stream = new Stream('console/tail', {
      heard: (name, data) => this.#heard(name, data),
      status: (word, detail) => this.#status(word, detail),
      silence: 30_000,
    })
    byId('filter').addEventListener('input', () => {
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#filtered(), TYPED)
    })
    byId('pause').addEventListener('click', () => this.#pause(!this.#paused))
    this.list.addEventListener('click', (event) => {
      const word = event.target.closest('button')?.dataset.word
      if (!word) return
      const filter = byId('filter')
      if (!filter.value.split(' ').includes(word)) filter.value = `${filter.value} ${word}`.trim()
      this.#filtered()
    })
  }

  start() {
    if (!this.#paused) this.stream.start()
  }

  stop() {
    this.stream.stop()
  }

  #pause(paused) {
    this.#paused = paused
    const button = byId('pause')
    button.setAttribute('aria-pressed', String(paused))
    button.textContent = paused ? 'Follow' : 'Pause'
    if (paused) this.stop()
    else this.start()
  }

  #filtered() {
    const filter = byId('filter').value.trim()
    this.stream.path = filter ? `console/tail?filter=${encodeURIComponent(filter)}` : 'console/tail'
    this.list.replaceChildren()
    this.#empty()
    if (this.#paused) this.#pause(false)
    else this.start()
  }

  #heard(name, data) {
    if (name === 'begins') {
      byId('tail-note').textContent = data.payloads
        ? 'Payloads are shown, as console.payloads allows; long ones are cut.'
        : 'Names, rooms and sizes; payloads stay out, unless console.payloads allows them.'
    }
    if (name !== 'events') return
    const lines = data.lines.map(line)
    if (data.skipped) {
      lines.unshift(make('li', { class: 'skipped' }, `${plural(data.skipped, 'event')} more at this moment, not shown`))
    }
    this.list.prepend(...lines.reverse())
    while (this.list.children.length > LINES) this.list.lastChild.remove()
    this.#empty()
  }

  #status(word, detail) {
    this.list.dataset.status = word
    if (word === 'offline' && detail?.why) byId('tail-note').textContent = `No tail: ${detail.why}.`
  }

  #empty() {
    const empty = byId('tail-empty')
    empty.hidden = this.list.children.length > 0
    empty.textContent = byId('filter').value.trim()
      ? 'Nothing that fits has been committed since you are looking.'
      : 'Nothing has been committed since you are looking.'
  }
}

function line(event) {
  if (event.gap) {
    const rooms = event.named ? `in ${event.named.join(', ')}` : 'in every room'
    return make('li', { class: 'gap' }, make('time', {}, clock(event.at ?? Date.now())),
      make('span', { class: 'state', 'data-level': 'bad' }, 'gap'), make('span', {}, `${event.gap}: events may be missing ${rooms}`))
  }
  const more = event.rooms - event.named.length
  const rooms = make('span', { class: 'chips' },
    ...event.named.map((room) => make('button', { 'data-word': room, title: `Only ${room}` }, room)),
    more > 0 ? make('span', { class: 'soft' }, `and ${count(more)} more`) : null)
  return make('li', { title: event.id ? `event ${event.id}` : 'notified, in no log' },
    make('time', {}, clock(event.at)),
    make('button', { class: 'name', 'data-word': event.name, title: `Only ${event.name}` }, event.name),
    rooms,
    make('span', { class: 'soft' }, event.channel),
    make('span', { class: 'size' }, bytes(event.bytes)),
    event.data == null ? null : make('code', {}, event.data))
}
