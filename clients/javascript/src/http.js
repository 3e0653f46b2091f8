/**
 * All that goes by HTTP, for when WebSocket is blocked or absent or a call can't wait for a link.
 * Loaded then, or when all is quiet.
 * Hands the transports to the keeper, and POST to calls. It must never be needed on the way to a
 * first link over WebSocket.
 */

export { poll } from './poll.js'
export { post } from './post.js'
export { sse } from './sse.js'
