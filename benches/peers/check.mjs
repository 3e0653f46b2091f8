// `npm test`: every peer, started as the bench starts it, serves a room's events to that room's
// subscribers, exactly and in order, to nobody else, and to no one with a wrong token.
// Needs DATABASE_URL, of any PostgreSQL: it writes nothing. Names of peers may be given.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import jwt from "jsonwebtoken";
import pg from "pg";
import { io } from "socket.io-client";
import { WebSocket } from "ws";

const SECRET = "a secret for nothing but this check";
const PATIENCE_MS = 20_000;

// Each opens a subscription: resolves when subscribed, rejects when refused.
const TRANSPORTS = {
  ws(base, path, hear) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${base}${path}`, { perMessageDeflate: false });
      socket.on("open", () => resolve(() => socket.terminate()));
      socket.on("error", reject);
      socket.on("message", (data) => hear(JSON.parse(data)));
    });
  },
  sse(base, path, hear) {
    return new Promise((resolve, reject) => {
      const request = get(`http://${base}${path}`, { headers: { accept: "text/event-stream" } });
      request.on("error", reject);
      request.on("response", (response) => {
        if (response.statusCode !== 200) {
          response.resume();
          reject(new Error(`status ${response.statusCode}`));
          return;
        }
        const lines = createInterface({ input: response });
        lines.on("error", () => {});
        lines.on("line", (line) => {
          if (line.startsWith("data: ")) hear(JSON.parse(line.slice(6)));
        });
        resolve(() => request.destroy());
      });
    });
  },
  socketio(base, path, hear) {
    return new Promise((resolve, reject) => {
      const query = Object.fromEntries(new URLSearchParams(path.split("?")[1]));
      const options = { query, transports: ["websocket"], reconnection: false, forceNew: true };
      const socket = io(`ws://${base}`, options);
      socket.on("connect", () => resolve(() => socket.disconnect()));
      socket.on("connect_error", reject);
      socket.on("bench:event", hear);
    });
  },
};

const PEERS = [
  { name: "ws", folder: "ws", transport: "ws", path: "/" },
  { name: "socketio", folder: "socketio", transport: "socketio", path: "/socket.io/" },
  { name: "socketio-redis", folder: "socketio-redis", transport: "socketio", path: "/socket.io/" },
  { name: "nchan", folder: "nchan", transport: "ws", path: "/ws" },
  { name: "nchan-sse", folder: "nchan", transport: "sse", path: "/sse" },
];

function token(claims, secret = SECRET, algorithm = "HS256") {
  return jwt.sign(claims, secret, { algorithm });
}

const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;
const GOOD = token({ sub: "alice", exp: inSeconds(3600) });
const BAD = {
  "no token": "",
  "another secret": token({ sub: "alice", exp: inSeconds(3600) }, "another secret"),
  "an expired token": token({ sub: "alice", exp: inSeconds(-60) }),
  "an unsigned token": token({ sub: "alice", exp: inSeconds(3600) }, "", "none"),
  "a token without end": token({ sub: "alice" }),
  "a token of nobody": token({ exp: inSeconds(3600) }),
};

function patiently(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function start(folder, port) {
  const child = spawn(process.execPath, ["server.mjs"], {
    cwd: fileURLToPath(new URL(folder, import.meta.url)),
    env: { ...process.env, PORT: String(port), JWT_SECRET: SECRET },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ready = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => line === "ready" && resolve());
    child.on("exit", (code) => reject(new Error(`${folder} ended with ${code}`)));
    child.on("error", reject);
  });
  await patiently(ready, `${folder} to serve`);
  return child;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await patiently(once(child, "exit"), "it to end");
}

/** A subscription that remembers what it heard, and can be waited for. */
async function subscribe(peer, port, room, credential) {
  const heard = [];
  const waiting = [];
  const said = new URLSearchParams({ room, token: credential });
  const close = await TRANSPORTS[peer.transport](
    `127.0.0.1:${port}`,
    `${peer.path}?${said}`,
    (event) => {
      heard.push(event);
      waiting.forEach((look) => look());
    },
  );
  const until = (n) =>
    patiently(
      new Promise((resolve) => {
        const look = () => heard.some((event) => event.n === n) && resolve();
        waiting.push(look);
        look();
      }),
      `event ${n} of ${room} at ${peer.name}`,
    );
  return { heard, until, close };
}

async function check(peer, database) {
  const port = await freePort();
  const child = await start(peer.folder, port);
  try {
    for (const [what, credential] of Object.entries(BAD)) {
      const attempt = patiently(subscribe(peer, port, "red", credential), `a refusal of ${what}`);
      await assert.rejects(attempt, /40[013]|websocket error/, `${peer.name} accepts ${what}`);
    }
    // More than one for each process that a peer may have.
    const red = await Promise.all([1, 2, 3, 4].map(() => subscribe(peer, port, "red", GOOD)));
    const blue = await subscribe(peer, port, "blue", GOOD);
    const events = [];
    for (let n = 1; n <= 20; n++) {
      // Every fifth in the other room; the last of each tells that nothing else is under way.
      const event = { n, t: 1_700_000_000.123456 + n, padding: "é\"x".repeat(80) };
      const room = n % 5 === 0 ? "blue" : "red";
      events.push({ room, event });
      await database.query("select pg_notify('bench', $1)", [JSON.stringify({ room, ...event })]);
    }
    const of = (wanted) => events.filter(({ room }) => room === wanted).map(({ event }) => event);
    for (const subscription of red) await subscription.until(19);
    await blue.until(20);
    for (const subscription of red) assert.deepEqual(subscription.heard, of("red"));
    assert.deepEqual(blue.heard, of("blue"));
    [...red, blue].forEach((subscription) => subscription.close());
  } finally {
    await stop(child);
  }
  // Whatever it had started is gone with it.
  const again = createServer().listen(port, "127.0.0.1");
  await patiently(once(again, "listening"), `${peer.name} to give back its port`);
  again.close();
  console.log(`${peer.name}: as it should be`);
}

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !PEERS.some((peer) => peer.name === name));
assert.deepEqual(unknown, [], "no such peers");
const database = new pg.Client({ connectionString: process.env.DATABASE_URL });
await database.connect();
try {
  for (const peer of PEERS) {
    if (chosen.length === 0 || chosen.includes(peer.name)) await check(peer, database);
  }
} finally {
  await database.end();
}
