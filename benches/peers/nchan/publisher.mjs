// Publishes to nchan over one connection, which keeps the events' order, and without waiting for
// answers. A library for HTTP costs twice as much for each event, and more than nginx does.
// It must never go on after an answer that is no success.

import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const TRIES = 200;
const TRY_MS = 25;
const STATUS = /HTTP\/1\.1 (\d{3})/g;
// The longest beginning of a status line that is not whole yet.
const PARTIAL = "HTTP/1.1 20".length;

async function connected(port, host) {
  for (let tries = 1; ; tries++) {
    const socket = connect(port, host);
    try {
      await once(socket, "connect");
      return socket.setNoDelay(true);
    } catch (error) {
      if (tries === TRIES) throw error;
      await pause(TRY_MS);
    }
  }
}

// nginx is told to end as well, and does so first.
let ending = false;
process.on("SIGTERM", () => {
  ending = true;
});

function end(why) {
  if (ending) return;
  console.error(`nchan takes no more events: ${why}`);
  process.exit(1);
}

/** A function that publishes an event to a room, once nginx takes connections. */
export async function publisher(port, host) {
  const socket = await connected(port, host);
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text) => {
    rest += text;
    for (const [, status] of rest.matchAll(STATUS)) if (status[0] !== "2") end(status);
    rest = rest.slice(-PARTIAL);
  });
  socket.on("error", (error) => end(error.message));
  socket.on("close", () => end("it closed the connection"));
  const flush = () => socket.uncork();
  return (room, event) => {
    const body = JSON.stringify(event);
    // What Postgres tells at once is written at once.
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(flush);
    }
    socket.write(
      `POST /publish?room=${encodeURIComponent(room)} HTTP/1.1\r\nHost: nchan\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n` +
        body,
    );
  };
}
