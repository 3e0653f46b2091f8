/**
 * `rowcast-client`: live data from Postgres in the browser, in workers and in Node.
 * Hands over to `connection.js`. It must never export what is not in `types.d.ts`.
 */

import { open } from './connection.js'

export const connect = /** @type {typeof import('./types.d.ts').connect} */ (/** @type {any} */ (open))
export { RowcastError } from './error.js'
