// Sockets of the real socket.io-client, as tests/support/socketio.rs says (obey.js). Whatever happens to a
// socket is kept in order for whoever asks; nothing is judged, and nothing tried again but by the library
// itself.
import { io } from 'socket.io-client'
import { obey } from './obey.js'

const sockets = []

// What the sockets below watch for themselves.
const OWN = new Set(['connect', 'connect_error', 'disconnect'])

// Where a resuming application stands: the last bookmark of an event, or of a word of the service.
function bookmarkOf(args) {
  const last = args.at(-1)
  return last && typeof last === 'object' ? last.bookmark : undefined
}

// An application's socket: its log, and who waits for the log to grow.
function open({ url, namespace = '', options = {}, resume = false, share }) {
  const log = []
  const place = { log, wake: [], bookmark: undefined }
  const say = (what) => {
    log.push(what)
    for (const woken of place.wake.splice(0)) woken()
  }
  const { auth = {}, ...rest } = options
  const own = resume
    ? { ...rest, auth: (send) => send(place.bookmark ? { ...auth, since: place.bookmark } : auth) }
    : { ...rest, auth }
  const socket = share === undefined
    ? io(url + namespace, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 500, ...own })
    : sockets[share].socket.io.socket(namespace, own)
  place.socket = socket
  socket.on('connect', () => say({ kind: 'connected', transport: socket.io.engine.transport.name }))
  socket.on('connect_error', (error) => say({ kind: 'refused', message: error.message, data: error.data }))
  socket.on('disconnect', (reason) => say({ kind: 'disconnected', reason, active: socket.active }))
  socket.onAny((name, ...args) => {
    if (OWN.has(name)) return
    place.bookmark = bookmarkOf(args) ?? place.bookmark
    say({ kind: 'event', name, args })
  })
  if (share !== undefined) socket.connect()
  return sockets.push(place) - 1
}

const commands = {
  open,

  // What has happened to a socket since, at least one thing; `most` keeps lines short.
  async next({ socket, from, most = 1000 }) {
    const { log, wake } = sockets[socket]
    while (log.length <= from) await new Promise((woken) => wake.push(woken))
    return log.slice(from, from + most)
  },

  emit({ socket, name, args }) {
    sockets[socket].socket.emit(name, ...args)
  },

  // The arguments of the acknowledgement.
  ask({ socket, name, args }) {
    return new Promise((answered) => {
      sockets[socket].socket.emit(name, ...args, (...answer) => answered(answer))
    })
  },

  disconnect: ({ socket }) => void sockets[socket].socket.disconnect(),
  connect: ({ socket }) => void sockets[socket].socket.connect(),

  // From now on it signs in with this.
  auth({ socket, auth }) {
    sockets[socket].socket.auth = auth
  },

  // Resolves when the connection has gone over to WebSocket.
  async upgraded({ socket }) {
    const { engine } = sockets[socket].socket.io
    if (engine.transport.name !== 'websocket') await new Promise((done) => engine.once('upgrade', done))
  },

  // Resolves when the next request is on its way: to connect and to write it take a turn of the loop each.
  async asks() {
    for (let turn = 0; turn < 10; turn++) await new Promise((done) => setImmediate(done))
  },

  transport: ({ socket }) => sockets[socket].socket.io.engine?.transport?.name,

  // Its process goes on, but nothing is read from its WebSocket any more.
  pause: ({ socket }) => void sockets[socket].socket.io.engine.transport.ws._socket.pause(),
}

obey(commands)
