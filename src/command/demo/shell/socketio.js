// A line by socket.io-client, as a front end that never heard of Rowcast connects; but for `since`,
// by which it gets what it missed. See view.js for what a line is.
// Hands events over with the place in history that came with them as a second argument.
// It must never be live before what was missed has come.

import { io } from "./vendor/socket.io.esm.min.js";
import { baseOf, signIn } from "./server.js";

const ANSWER = 10_000; // ms within which a message is answered
const SIGN_IN_AGAIN = 2000; // ms after a refusal: a session may have ended, a server may be away

/** `joins` are the messages by which the front end joins rooms: [["join-room", "bookings"], …]. What
 *  was missed comes of home rooms, and of `rooms`, which the handshake names. */
export function socketio(who, { since, joins = [], rooms = [] } = {}) {
  const listeners = { status: [], event: [], gap: [], error: [] };
  const tell = (kind, ...what) => listeners[kind].forEach((listener) => listener(...what));
  const path = new URL("socket.io/", baseOf(who)).pathname;
  let bookmark = since;
  let left = 0; // events of a replay that are still to come
  let again = 0; // timer of the next sign-in

  const line = {
    status: "connecting",
    reason: "signing in",
    get over() {
      return `Socket.IO, ${socket.io.engine?.transport?.name === "polling" ? "polling" : "WebSocket"}`;
    },
    on: (kind, listener) => void listeners[kind].push(listener),
    close() {
      clearTimeout(again);
      socket.disconnect();
      turn("offline", "closed");
    },
    reconnect: begin,
    /** Says a message that has an answer. */
    ask: (message) => socket.timeout(ANSWER).emitWithAck(message),
  };

  function turn(status, reason = "") {
    if (line.status === status && line.reason === reason) return;
    Object.assign(line, { status, reason });
    tell("status", line);
  }

  // forceNew: each view is a browser of its own, though they share this page.
  const socket = io(location.origin, { path, auth: (say) => say({ since: bookmark }), query: rooms.length ? { rooms: rooms.join() } : {}, autoConnect: false, forceNew: true, withCredentials: true });

  async function begin() {
    clearTimeout(again);
    try {
      await signIn(who);
      socket.connect();
    } catch (error) {
      turn("offline", error.message);
      again = setTimeout(begin, SIGN_IN_AGAIN);
    }
  }

  // It begins by polling, and goes over to a WebSocket without a word of its own to the application.
  socket.io.on("open", () => socket.io.engine.once("upgrade", () => tell("status", line)));
  socket.on("connect", async () => {
    const resumes = bookmark !== undefined;
    try {
      await Promise.all(joins.map((join) => socket.timeout(ANSWER).emitWithAck(...join)));
    } catch (error) {
      return tell("error", error);
    }
    if (!resumes) turn("live");
  });
  socket.on("disconnect", (reason) => {
    if (reason === "io client disconnect") return;
    turn("recovering", reason);
    // The server ended the session; from any other end the client comes back by itself.
    if (reason === "io server disconnect") again = setTimeout(begin, SIGN_IN_AGAIN);
  });
  socket.on("connect_error", (error) => {
    // Active, it tries again, and its words are those of its transport, such as "xhr poll error".
    turn(...(socket.active ? ["recovering", "No answer yet"] : ["refused", error.message]));
    if (!socket.active) again = setTimeout(begin, SIGN_IN_AGAIN);
  });

  socket.onAny((name, data, place) => {
    if (name.startsWith("rowcast:")) return hear(name.slice(8), data);
    const { id, at } = place ?? {};
    if (place?.bookmark) bookmark = place.bookmark;
    tell("event", { name, data, id, at });
    if (left && id && !--left) turn("live");
  });

  function hear(kind, data) {
    if (data?.bookmark) bookmark = data.bookmark;
    if (kind === "subscribed") {
      left = data.outcome === "recovered" ? (data.count ?? 0) : 0;
      if (data.outcome === "gap") tell("gap", data);
      if (left) turn("recovering", "what was missed is on its way");
      else turn("live");
    } else if (kind === "gap" || kind === "error") tell(kind, data);
  }

  begin();
  return line;
}
