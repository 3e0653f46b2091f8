// The console of one node: asks for its stream, hands what comes to charts and lists, and says
// whether what is shown is still true.

import { byId, otherLeader, say, time } from './format.js'
import { History } from './history.js'
import { Lists } from './lists.js'
import { forget, keep, takeFromUrl } from './session.js'
import { Stream } from './stream.js'
import { Tail } from './tail.js'
import { showUnknown, showVerdict } from './verdict.js'

/** A page that nobody sees stops asking after so long. */
const UNSEEN = 60_000
/** From this long before its end the token asks to be renewed. */
const SOON = 300_000

let history = null
let expiresAt = null
let unseen = 0
/** When the node last told how it is. */
let heardAt = 0

/** None where they can't be drawn, as in a browser without a locale: the figures are shown all the same. */
const charts = await import('./charts.js').then(({ Charts }) => new Charts()).catch(console.error)
const tail = new Tail()
const lists = new Lists({
  wantRoom(room) {
    lists.find(room)
    byId('find').scrollIntoView({ block: 'center' })
    byId('find').focus()
  },
})
const watch = new Stream('console/watch', { heard, status, silence: 6000 })

function heard(name, data) {
  if (name === 'history') {
    history = new History(data)
    expiresAt = data.expiresAt * 1000
    byId('gate').hidden = true
    document.body.dataset.drawn = ''
    charts?.show(history)
    showNode(data.node)
    if (!tail.stream.runs) tail.start()
    status('live')
  }
  if (name === 'now' && history) {
    history.push(data.sample)
    charts?.draw()
    showVerdict(data, history)
    heardAt = Date.now()
    lists.show(data)
    showNode(data.node, data.database?.leader)
    showExpiry()
    document.body.dataset.drawn = String(history.length)
  }
}

function showNode(node, leader) {
  const other = otherLeader(node, leader)
  const lead = node.leads ? 'it leads' : other ? `led by ${other}` : 'it follows'
  say(byId('node'), `Node ${node.name}, ${lead}; other nodes have consoles of their own`)
}

function showExpiry() {
  const left = expiresAt - Date.now()
  const soon = left < SOON
  say(byId('until'), soon ? `Token ends in ${time(Math.max(0, left))}` : '')
  byId('renew').hidden = !soon
}

function status(word, detail) {
  const words = {
    connecting: 'Connecting',
    live: 'Live',
    offline: detail?.why ? `Away: ${detail.why}` : `The server is away; again in ${time(detail?.wait)}`,
    refused: 'Not let in',
  }
  // While it tries again, the words stay: who listens need not hear every attempt.
  if (word === 'connecting' && document.body.dataset.status === 'offline') return
  document.body.dataset.status = word
  byId('status').dataset.status = word
  say(byId('status').querySelector('b'), words[word])
  if (heardAt && (word === 'offline' || word === 'refused')) showUnknown(heardAt)
  if (word === 'refused') askForToken(detail)
}

function askForToken({ status: code, message } = {}) {
  const hadToken = forget()
  tail.stop()
  // What the old token had left is no news any more.
  say(byId('until'), '')
  byId('renew').hidden = true
  const reasons = {
    401: hadToken ? `Your token ${history ? 'no longer counts' : 'does not count'} (${message}). Paste a new one.` : 'The console opens to a token with the claim that operators have.',
    403: `This token does not open it: ${message}.`,
    404: 'There is no console here: console.enabled is off, or http.admin_listen has moved it.',
  }
  say(byId('gate-title'), code === 404 ? 'No console here' : 'A token, please')
  say(byId('gate-why'), reasons[code] ?? message ?? 'It was refused.')
  byId('gate').hidden = false
  byId('token').focus()
}

byId('gate').addEventListener('submit', (event) => {
  event.preventDefault()
  const field = byId('token')
  keep(field.value)
  field.value = ''
  tail.stop()
  watch.start()
})
byId('renew').addEventListener('click', () => {
  say(byId('gate-title'), 'A new token')
  say(byId('gate-why'), `This one ends in ${time(Math.max(0, expiresAt - Date.now()))}. What is shown stays.`)
  byId('gate').hidden = false
  byId('token').focus()
})
addEventListener('online', () => { if (byId('gate').hidden) watch.start() })
document.addEventListener('visibilitychange', () => {
  clearTimeout(unseen)
  if (document.hidden) {
    unseen = setTimeout(() => {
      watch.stop()
      tail.stop()
    }, UNSEEN)
  } else if (!watch.runs && byId('gate').hidden) {
    watch.start()
  }
})

takeFromUrl()
watch.start()
