// Listens between the network and the client: each event that arrives is counted here first, so
// that the server is not flattered by a client that drops what came twice.
// It must never change what passes, and never count what arrived in part.

// Wraps this environment's fetch and WebSocket; call it before the client is loaded.
export function tap() {
  // The id of each event that arrived, in order, and when each connection was asked for.
  const wire = { arrived: [], asked: [] }
  const arrives = (transport, id) => wire.arrived.push([transport, id])

  const { WebSocket: RealSocket, fetch: realFetch } = globalThis
  globalThis.WebSocket = class extends RealSocket {
    constructor(...args) {
      wire.asked.push(['websocket', Date.now()])
      super(...args)
      this.addEventListener('message', ({ data }) => {
        const frame = JSON.parse(data)
        if (frame.type === 'event') arrives('websocket', frame.id)
      })
    }
  }
  globalThis.fetch = async (input, init) => {
    const [transport] = new URL(input.url ?? input, globalThis.location?.href).pathname.split('/').slice(-1)
    if (transport !== 'sse' && transport !== 'poll') return realFetch(input, init)
    wire.asked.push([transport, Date.now()])
    const response = await realFetch(input, init)
    if (!response.ok || !response.body) return response
    if (transport === 'sse') {
      const through = response.body.pipeThrough(counting((id) => arrives('sse', id)))
      return new Response(through, response)
    }
    const whole = (answer) => {
      const events = answer.events.filter(({ type }) => type === 'event')
      for (const { id } of events) arrives('poll', id)
    }
    response.clone().json().then(whole, () => {})
    return response
  }
  return wire
}

// Server-sent events, whose id is the end of their bookmark; control events are none.
function counting(arrives) {
  const decoder = new TextDecoder()
  let rest = ''
  return new TransformStream({
    transform(chunk, out) {
      const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
      rest = blocks.pop()
      for (const block of blocks) {
        const name = /^event: ?(.*)$/m.exec(block)?.[1]
        const bookmark = /^id: ?(.*)$/m.exec(block)?.[1]
        if (name && !name.startsWith('rowcast:')) arrives(bookmark?.split('.').at(-1))
      }
      out.enqueue(chunk)
    },
  })
}
