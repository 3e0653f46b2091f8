// Drives places where an application runs (pages of Chromium, their workers, this Node.js) as
// tests/support/driver.rs says (obey.js). It hands everything that it is told on, and must never judge or
// retry.
import { chromium } from 'playwright-core'
import { obey } from './obey.js'
import { serve } from './site.js'

// Pages have it beside them; see application.js.
globalThis.rowcastClient = new URL('../../clients/javascript/src/index.js', import.meta.url).href

const site = await serve()
const places = []
let browser

// One browser for all places of a test, started when the first of them needs it.
function launched() {
  browser ??= chromium.launch({
    executablePath: process.env.ROWCAST_TEST_CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      // A host that browsers trust less than localhost.
      '--host-resolver-rules=MAP intranet.test 127.0.0.1',
    ],
    // Rust decides how long anything may take.
    timeout: 0,
  })
  return browser
}

// A page of its own: nothing is shared with another one, no storage and no connection.
async function page({ url, look = {} }) {
  const { blocked, before, ...options } = look
  const context = await (await launched()).newContext({ viewport: { width: 1440, height: 1000 }, ...options })
  context.setDefaultTimeout(0)
  const page = await context.newPage()
  if (blocked) await page.route(blocked, (route) => route.abort())
  if (before) await page.addInitScript(before)
  page.on('pageerror', (error) => console.error(`page: ${error.stack ?? error}`))
  page.on('console', (message) => console.error(`console: ${message.text()}`))
  await page.goto(url)
  return page
}

const commands = {
  // Where pages come from and tokens are issued.
  origin: () => site.origin,

  // An application without anything running yet, in a page, in a page's worker or here.
  async open({ environment, patches = [] }) {
    if (environment === 'node') {
      const application = await import('./application.js')
      return places.push({ ask: (name, args) => application[name](...args) }) - 1
    }
    const shown = await page({ url: site.page(environment, patches) })
    const ask = (name, args) =>
      shown.evaluate(([name, args]) => window.application[name](...args), [name, args])
    return places.push({ ask, page: shown }) - 1
  },

  // Any page at all.
  async visit({ url, look }) {
    return places.push({ page: await page({ url, look }) }) - 1
  },

  // What a function of application.js returns, awaited.
  ask: ({ place, name, args = [] }) => places[place].ask(name, args),

  // The value of an expression, awaited.
  evaluate: ({ place, expression }) => places[place].page.evaluate(expression),

  // Waits for an expression to become true. (Playwright's own way is eval, which a page may forbid.)
  async until({ place, expression }) {
    await places[place].page.evaluate(`new Promise((done) => {
      const look = () => (${expression}) ? done() : setTimeout(look, 20)
      look()
    })`)
  },

  inScheme: ({ place, scheme }) => places[place].page.emulateMedia({ colorScheme: scheme }),

  offline: ({ place, offline }) => places[place].page.context().setOffline(offline),

  async screenshot({ place, path, whole = false }) {
    await places[place].page.screenshot({ path, fullPage: whole })
  },

  // All processes of the browser.
  async processes() {
    const session = await (await launched()).newBrowserCDPSession()
    const { processInfo } = await session.send('SystemInfo.getProcessInfo')
    return processInfo.map(({ id }) => id)
  },

  async leave({ place }) {
    await places[place].page?.context().close()
  },
}

obey(commands, async () => (await browser)?.close())
