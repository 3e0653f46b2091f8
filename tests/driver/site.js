// Serves the pages, the client's own sources as they lie in clients/javascript/src, and tokens.
// It must never serve a source other than as it is, unless a test says which words to exchange.
import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const here = new URL('./', import.meta.url)
const client = new URL('../../clients/javascript/src/', import.meta.url)
const page = `<!doctype html><meta charset="utf-8"><title>A page</title>
<script type="module">const application = import('./application.js')
window.application = new Proxy({}, {
  get: (_, name) => async (...args) => (await application)[name](...args),
})</script>`
const host = `<!doctype html><meta charset="utf-8"><title>A page and its worker</title>
<script type="module" src="host.js"></script>`

export async function serve() {
  // Each page has a folder of its own, so that its sources may be exchanged.
  const folders = []
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost')
    const [, folder, ...rest] = url.pathname.split('/')
    const path = rest.join('/')
    try {
      if (folder === 'token') return send(response, 'text/plain', token(url.searchParams))
      if (folder === 'favicon.ico') return response.writeHead(204).end()
      const { environment, patches } = folders[folder]
      if (path === '') return send(response, 'text/html', environment === 'worker' ? host : page)
      const from = path.startsWith('client/') ? new URL(path.slice('client/'.length), client) : new URL(path, here)
      send(response, 'text/javascript', patched(path, await readFile(from, 'utf8'), patches))
    } catch (error) {
      console.error(`${request.url}: ${error}`)
      response.writeHead(404).end(String(error))
    }
  })
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  const origin = `http://127.0.0.1:${server.address().port}`
  return {
    origin,
    page: (environment, patches) =>
      `${origin}/${folders.push({ environment, patches }) - 1}/`,
  }
}

function send(response, type, body) {
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' })
  response.end(body)
}

// A change that changes nothing would prove nothing.
function patched(path, source, patches) {
  for (const { file, from, to } of patches.filter(({ file }) => path === `client/${file}`)) {
    if (source.split(from).length !== 2) throw new Error(`${file} does not have ${from} once`)
    source = source.replace(from, () => to)
  }
  return source
}

// A JWT as an application's own backend issues it.
function token(parameters) {
  const issued = Math.floor(Date.now() / 1000)
  const { seconds = '600', ...claims } = Object.fromEntries(parameters)
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = `${encode({ alg: 'HS256' })}.${encode({ ...claims, iat: issued, exp: issued + Number(seconds) })}`
  const signature = createHmac('sha256', process.env.ROWCAST_TEST_SECRET).update(body)
  return `${body}.${signature.digest('base64url')}`
}
