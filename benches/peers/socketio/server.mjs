// The peer `socketio`: one process of Socket.IO with its own in-memory adapter.

import { createServer } from "node:http";
import { HOST, databaseUrl, port, ready } from "../settings.mjs";
import { listen } from "../source.mjs";
import { open } from "./rooms.mjs";

const server = createServer();
const io = open(server);
await listen(databaseUrl, (room, event) => io.to(room).emit("bench:event", event));
server.listen({ port, host: HOST, backlog: 4096 }, ready);
