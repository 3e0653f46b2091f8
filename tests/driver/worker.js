// The worker's end of host.js.
const loading = import('./application.js')

onmessage = async ({ data: { id, name, args } }) => {
  try {
    const application = await loading
    postMessage({ id, ok: await application[name](...args) })
  } catch (error) {
    postMessage({ id, error: String(error.stack ?? error) })
  }
}
