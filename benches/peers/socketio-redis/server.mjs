// The peer `socketio-redis`: Socket.IO in several processes that a Redis of their own joins.
// One of them hears of the events and emits them to all, as a request that one process serves does.

import cluster from "node:cluster";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { directory, run } from "../children.mjs";
import { HOST, databaseUrl, port, ready, workers } from "../settings.mjs";
import { open } from "../socketio/rooms.mjs";
import { listen } from "../source.mjs";

const TRIES = 200;
const TRY_MS = 25;

async function connect(path) {
  for (let tries = 1; ; tries++) {
    const client = createClient({ socket: { path, reconnectStrategy: false } });
    try {
      // Without a listener, a connection that breaks would end the process by an exception.
      client.on("error", (error) => tries === TRIES && console.error(error.message));
      return await client.connect();
    } catch (error) {
      if (tries === TRIES) throw error;
      await pause(TRY_MS);
    }
  }
}

async function primary() {
  const socket = join(directory(), "redis");
  // No port, no file, no daemon.
  const memory = ["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"];
  run(process.env.ROWCAST_BENCH_REDIS || "redis-server", [...memory, "--unixsocket", socket]);
  await connect(socket).then((client) => client.close());
  let waiting = workers;
  cluster.on("exit", () => process.kill(process.pid, "SIGTERM"));
  for (let index = 0; index < workers; index++) {
    cluster.fork({ REDIS_SOCKET: socket, IS_SOURCE: index === 0 ? "1" : "" });
  }
  cluster.on("listening", () => --waiting === 0 && ready());
}

async function worker() {
  const path = process.env.REDIS_SOCKET;
  const server = createServer();
  const io = open(server, createAdapter(await connect(path), await connect(path)));
  if (process.env.IS_SOURCE) {
    await listen(databaseUrl, (room, event) => io.to(room).emit("bench:event", event));
  }
  server.listen({ port, host: HOST, backlog: 4096 });
}

await (cluster.isPrimary ? primary() : worker());
