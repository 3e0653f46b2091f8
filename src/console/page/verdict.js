// What whoever was woken reads first: whether something is wrong, in words, and the numbers of now.

import { TRANSPORTS, bytes, byId, clock, count, make, percent, plural, say, time } from './format.js'
import { quantile } from './history.js'

const HOUR = 3_600_000
const MINUTE_OF_SAMPLES = 60

/** What is wrong, the worst first: [level, words]. */
function troubles(now, history) {
  const { node, database, slow, at } = now
  const { limits } = node
  const found = []
  const bad = (words) => found.push(['bad', words])
  const warn = (words) => found.push(['warn', words])
  if (node.trouble) bad(`Not ready: ${node.trouble}.`)
  if (database?.error) bad(`The database does not answer this node: ${database.error}.`)
  else if (database && !database.leader) bad('No node leads: writers ring for nobody, or nobody empties the log.')
  if (slow.count) warn(`${plural(slow.count, 'reader is', 'readers are')} slow; whose queue is full is closed as lagged.`)
  const notify = history.last('notify') ?? 0
  if (notify >= 0.1) warn(`The NOTIFY queue is ${percent(notify)} full: somebody who did LISTEN sits in a transaction.`)
  const failures = (database?.failures ?? []).filter((failure) => at - failure.at < HOUR).length
  if (failures) warn(`${plural(failures, 'trigger failure')} in the last hour: events were lost, gaps were told.`)
  const failed = history.sum('failures', MINUTE_OF_SAMPLES)
  if (failed) warn(`${plural(failed, 'failure')} of rules, triggers, keys or questions to the database in the last minute: the log says which.`)
  if (database?.drift?.length) warn(`${plural(database.drift.length, 'attachment is', 'attachments are')} not in force.`)
  if (database?.paused?.length) warn(`Paused: ${database.paused.join(', ')}.`)
  if (database?.log?.refused != null) warn(`A lock has kept the log from being emptied for ${time(database.log.refused * 1000)}.`)
  const open = openNow(history)
  if (open > limits.connections * 0.8) warn(`${count(open)} of ${count(limits.connections)} connections are taken.`)
  const late = quantile(history.counts(MINUTE_OF_SAMPLES), history.bounds, 0.99)
  if (late > 1000) warn(`One of a hundred deliveries took more than ${time(late)} in the last minute.`)
  const refused = history.sum('refusals', MINUTE_OF_SAMPLES)
  // On a public port somebody always knocks: worth a word, and no alarm.
  if (refused) found.push(['note', `${plural(refused, 'request was', 'requests were')} refused in the last minute.`])
  return found
}

function openNow(history) {
  return history.transports.reduce((sum, name) => sum + (history.last(name) ?? 0), 0)
}

export function showVerdict(now, history) {
  const found = troubles(now, history)
  const level = found.some(([one]) => one === 'bad') ? 'bad' : found.some(([one]) => one === 'warn') ? 'warn' : 'well'
  const words = { bad: 'Something is wrong', warn: 'Have a look', well: 'All is well' }
  byId('verdict').dataset.level = level
  say(byId('verdict-title'), words[level])
  const list = byId('verdict-list')
  const well = [['well', 'Events get through, nobody is slow, no trigger has failed lately.']]
  const texts = level === 'well' ? [...well, ...found] : found
  if (list.dataset.said !== JSON.stringify(texts)) {
    list.dataset.said = JSON.stringify(texts)
    list.replaceChildren(...texts.map(([one, text]) => make('li', { 'data-level': one }, text)))
  }
  document.title = level === 'well' ? 'Rowcast console' : `${level === 'bad' ? '✕' : '!'} Rowcast console`
  showTiles(now, history)
}

/** Nobody tells any more: what was well then is no verdict on now. */
export function showUnknown(at) {
  byId('verdict').dataset.level = 'bad'
  say(byId('verdict-title'), 'Not known')
  const words = `This node has told nothing since ${clock(at)}: all that is shown is of then.`
  byId('verdict-list').dataset.said = words
  byId('verdict-list').replaceChildren(make('li', { 'data-level': 'bad' }, words))
  document.title = '✕ Rowcast console'
}

function showTiles(now, history) {
  const minute = history.counts(MINUTE_OF_SAMPLES)
  const half = quantile(minute, history.bounds, 0.5)
  const late = quantile(minute, history.bounds, 0.99)
  const log = now.database?.log
  const used = history.transports.filter((name) => history.last(name))
  const notify = history.last('notify')
  const tiles = [
    ['Connections', count(openNow(history)), used.map((name) => `${TRANSPORTS[name]} ${count(history.last(name))}`).join(' · ') || 'nobody is here'],
    ['Events', `${count(history.last('events'))}/s`, `${count(now.totals.events)} since the start`],
    ['Deliveries', `${count(history.last('deliveries'))}/s`, `${count(now.totals.deliveries)} since the start`],
    ['Commit to socket', time(half), late == null ? 'no delivery in the last minute' : `99 of 100 within ${time(late)}`, late > 1000],
    ['Slow readers', count(now.slow.count), now.slow.count ? `since ${time(now.at - now.slow.list[0].slow)}` : `below ${now.node.limits.slowPercent}\u202f% of a queue`, now.slow.count > 0],
    ['Queues', bytes(history.last('queueBytes')), `each up to ${bytes(now.node.limits.queueBytes)}`],
    ['NOTIFY queue', percent(notify), notify >= 0.1 ? 'nobody notifies any more' : 'above 10\u202f% nobody notifies', notify >= 0.1],
    ['Event log', log ? bytes(log.bytes) : '–', log ? `of ${bytes(log.keepBytes)}, ${log.age == null ? 'empty' : `${time(log.age * 1000)} back`}` : 'not asked yet'],
  ]
  const place = byId('tiles')
  if (place.children.length !== tiles.length) {
    place.replaceChildren(...tiles.map(([name]) => make('div', {}, make('dt', {}, name), make('dd', { class: 'value' }), make('dd'))))
  }
  tiles.forEach(([, value, note, alarming], index) => {
    const tile = place.children[index]
    tile.toggleAttribute('data-alarming', Boolean(alarming))
    say(tile.children[1], value)
    say(tile.children[2], note)
  })
}
