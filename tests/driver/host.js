// The page of an application that runs in a worker: it hands questions down and answers up.
const worker = new Worker('worker.js', { type: 'module' })
const waiting = new Map()
worker.onmessage = ({ data: { id, ok, error } }) => {
  const { resolve, reject } = waiting.get(id)
  waiting.delete(id)
  if (error) reject(new Error(error))
  else resolve(ok)
}
worker.onerror = ({ message, filename, lineno }) => console.error(`worker: ${filename}:${lineno}: ${message}`)

let asked = 0
window.application = new Proxy({}, {
  get: (_, name) => (...args) => new Promise((resolve, reject) => {
    waiting.set(asked += 1, { resolve, reject })
    worker.postMessage({ id: asked, name, args })
  }),
})
