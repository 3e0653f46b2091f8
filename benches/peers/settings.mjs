// What a peer is told by its environment, and what it says when it serves.

import { availableParallelism } from "node:os";

function required(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set; see benches/peers/README.md`);
    process.exit(2);
  }
  return value;
}

export const port = Number(required("PORT"));
export const databaseUrl = required("DATABASE_URL");
export const jwtSecret = required("JWT_SECRET");
/** Processes that hold connections, where a peer can have several. */
export const workers = Number(process.env.WORKERS ?? availableParallelism());
export const HOST = "127.0.0.1";

/** The harness waits for this line. */
export function ready() {
  console.log("ready");
}
