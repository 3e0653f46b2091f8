/**
 * The transports for where WebSocket is blocked, loaded when they are needed.
 * Hands them to the keeper. It must never be needed before the first attempt over WebSocket.
 */

export { poll } from './poll.js'
export { sse } from './sse.js'
