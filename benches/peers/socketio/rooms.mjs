// Socket.IO as its documentation recommends it for production: what both Socket.IO peers share.

import { Server } from "socket.io";
import { jwtSecret } from "../settings.mjs";
import { query, verifier } from "../token.mjs";

/** A Socket.IO server whose sockets are members of the room that they ask for. */
export function open(server, adapter) {
  const verify = verifier(jwtSecret);
  const io = new Server(server, {
    adapter,
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    // Before the upgrade: what is refused here costs no session.
    allowRequest: (request, answer) => {
      const said = query(request.url);
      answer(null, said.has("room") && verify(said.get("token")));
    },
  });
  // "Memory usage" in its documentation: the first request is kept otherwise, and its headers.
  io.engine.on("connection", (connection) => {
    connection.room = query(connection.request.url).get("room");
    connection.request = null;
  });
  io.on("connection", (socket) => socket.join(socket.conn.room));
  return io;
}
