// A line by a plain WebSocket at a door of the system's own, as a front end that never heard of
// Rowcast connects: flat frames with `type`, a pause, and again. See view.js for what a line is.
// Hands events over. Where they carry no bookmark, it says after each cut that something may be
// missing, as it has always been. It must never take a frame of the door itself for an event.

import { base, signIn } from "./server.js";

const PAUSES = [500, 1000, 2000, 4000]; // ms before each new try
const OWN = ["connection_established", "subscribed", "unsubscribed", "error"];

/** `path` is the door, below the system's base; the token goes into the address, as it has. */
export function door(who, { path, since }) {
  const listeners = { status: [], event: [], gap: [], error: [] };
  const tell = (kind, ...what) => listeners[kind].forEach((listener) => listener(...what));
  let bookmark = since;
  let hasPlace = true; // whether the last bookmark is where we stand
  let wasLive = false;
  let socket;
  let tries = 0;
  let timer = 0;

  const line = {
    status: "connecting",
    reason: "signing in",
    over: "the system’s own WebSocket",
    on: (kind, listener) => void listeners[kind].push(listener),
    close() {
      clearTimeout(timer);
      const closing = socket;
      socket = undefined;
      closing?.close();
      turn("offline", "closed");
    },
    reconnect: begin,
  };

  function turn(status, reason = "") {
    Object.assign(line, { status, reason });
    tell("status", line);
  }

  function again(reason) {
    turn("recovering", reason);
    timer = setTimeout(begin, PAUSES[Math.min(tries++, PAUSES.length - 1)]);
  }

  async function begin() {
    clearTimeout(timer);
    let token;
    try {
      token = await signIn(who);
    } catch (error) {
      return again(error.message);
    }
    const address = new URL(path, base.replace(/^http/, "ws"));
    address.search = new URLSearchParams({ token, ...(hasPlace && { since: bookmark }) });
    const opened = (socket = new WebSocket(address));
    opened.onmessage = ({ data }) => opened === socket && hear(JSON.parse(data));
    opened.onclose = ({ code, reason }) => opened === socket && again(`closed with ${code} ${reason}`);
  }

  function hear({ type, ...data }) {
    if (type === "connection_established") {
      tries = 0;
      if (wasLive && !hasPlace) tell("gap", { reason: "this door has no bookmarks" });
      wasLive = true;
      turn("recovering", "what was missed is on its way");
      // Answers come in their turn: this one behind all that was missed.
      return socket.send('{"type":"ping"}');
    }
    if (type === "pong") return turn("live");
    hasPlace = data.bookmark !== undefined;
    bookmark = data.bookmark ?? bookmark;
    if (type === "error") tell("error", data);
    else if (!OWN.includes(type)) tell("event", { name: type, data, id: /\d+$/.exec(data.bookmark)?.[0], at: data.timestamp });
  }

  begin();
  return line;
}
