/**
 * One link over WebSocket: frames both ways, the token in the subprotocol.
 * Hands frames and the reason of its end to the keeper. It must never say anything after its end.
 */

import { address } from './address.js'
import { ofClose } from './errors.js'

/** @type {import('./keeper.js').Transport} */
export function websocket({ settings, token, opening, frame, end }) {
  const protocols = token ? ['rowcast.v1', `bearer.${token}`] : ['rowcast.v1']
  /** @type {WebSocket} */
  const socket = new settings.WebSocket(address(settings.url, '/ws', opening).replace(/^http/, 'ws'), protocols)
  socket.onmessage = ({ data }) => frame(JSON.parse(data))
  socket.onclose = ({ code, reason }) => end(ofClose(code, reason))
  // Its close follows, but of Node 22's own that could not open. `ws` ends the process if nobody hears of an error.
  socket.onerror = () => settings.later(0, () => socket.onclose && end(ofClose(1006, '')))
  return {
    send: (said) => socket.readyState === 1 && (socket.send(said), true),
    close() {
      socket.onmessage = socket.onclose = null
      socket.close()
    },
  }
}
