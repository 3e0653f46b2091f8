/**
 * One link over WebSocket: frames both ways, the token in the subprotocol.
 * Hands frames and the verdict of its end to the keeper. It must never say anything after its end.
 */

import { address } from './address.js'
import { ofClose } from './errors.js'

/** @type {import('./keeper.js').Transport} */
export function websocket({ settings, token, opening, frame, end }) {
  const url = address(settings.url, '/ws', opening).replace(/^http/, 'ws')
  const protocols = token ? ['rowcast.v1', `bearer.${token}`] : ['rowcast.v1']
  const socket = new /** @type {typeof WebSocket} */ (settings.WebSocket)(url, protocols)
  socket.onmessage = ({ data }) => frame(JSON.parse(data))
  socket.onclose = ({ code, reason }) => end(ofClose(code, reason))
  return {
    send(said) {
      if (socket.readyState !== 1) return false
      socket.send(said)
      return true
    },
    close() {
      socket.onmessage = socket.onclose = null
      socket.close()
    },
  }
}
