// The peer `ws`: what one writes by hand on Node with the package of that name.
// Rooms are a Map of Sets; an event is stringified and framed once, as Socket.IO does it.

import { createServer } from "node:http";
import { Sender, WebSocket, WebSocketServer } from "ws";
import { HOST, databaseUrl, jwtSecret, port, ready } from "../settings.mjs";
import { listen } from "../source.mjs";
import { query, verifier } from "../token.mjs";

const HEARTBEAT_MS = 30_000;
// Nobody is meant to send anything here.
const MAX_PAYLOAD = 4096;
// A reader that has not taken this much is cut, or one that stalls would take all memory.
const MAX_BUFFERED = 4 * 1024 * 1024;
const FRAME = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false };
const REFUSED = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

const rooms = new Map();
const verify = verifier(jwtSecret);

function join(socket, room) {
  socket.room = room;
  socket.alive = true;
  const members = rooms.get(room);
  if (members) members.add(socket);
  else rooms.set(room, new Set([socket]));
}

// Functions of all sockets, not closures of each: those would cost memory for every connection.
function leave() {
  const members = rooms.get(this.room);
  members.delete(this);
  if (members.size === 0) rooms.delete(this.room);
}

function live() {
  this.alive = true;
}

function ignore() {}

function publish(room, event) {
  const members = rooms.get(room);
  if (!members) return;
  // One buffer, so that a socket needs one write: `send` would frame it anew for each of them.
  const data = Buffer.from(JSON.stringify(event));
  const frame = [Buffer.concat(Sender.frame(data, FRAME))];
  for (const socket of members) {
    if (socket.bufferedAmount > MAX_BUFFERED) socket.terminate();
    else if (socket.readyState === WebSocket.OPEN) socket._sender.sendFrame(frame);
  }
}

function heartbeat() {
  for (const members of rooms.values()) {
    for (const socket of members) {
      if (!socket.alive) {
        socket.terminate();
        continue;
      }
      socket.alive = false;
      socket.ping();
    }
  }
}

const sockets = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_PAYLOAD,
});
const server = createServer((_, response) => response.writeHead(404).end());
server.on("upgrade", (request, connection, head) => {
  const said = query(request.url);
  const room = said.get("room");
  if (!room || !verify(said.get("token"))) {
    connection.end(REFUSED);
    return;
  }
  sockets.handleUpgrade(request, connection, head, (socket) => {
    socket.on("close", leave);
    socket.on("pong", live);
    socket.on("error", ignore);
    join(socket, room);
  });
});

await listen(databaseUrl, publish);
setInterval(heartbeat, HEARTBEAT_MS);
server.listen({ port, host: HOST, backlog: 4096 }, ready);
