// A line by Rowcast's own JavaScript client: see view.js for what a line is.
// Hands frames over as the client does. It must never be live before the client says so.

import { connect } from "/client/index.js";
import { base, baseOf, signIn } from "./server.js";

const SIGN_IN_AGAIN = 2000; // ms after a refusal: a session may have ended, a server may be away
const TRANSPORTS = { websocket: "WebSocket", sse: "server-sent events", poll: "long poll" };

/** The connection itself: by JWT, or by the session cookie of a view (`by: "cookie"`). */
export function connectAs(who, { by = "jwt", ...options } = {}) {
  if (by === "jwt") return connect({ url: base, token: () => signIn(who), ...options });
  const connection = connect({ url: baseOf(who), start: false, ...options });
  const begin = connection.reconnect;
  // The application's login is asked at the start, and again when a session has ended.
  connection.reconnect = () => void signIn(who).then(begin, () => setTimeout(connection.reconnect, SIGN_IN_AGAIN));
  connection.on("status", ({ status }) => status === "refused" && setTimeout(connection.reconnect, SIGN_IN_AGAIN));
  connection.reconnect();
  return connection;
}

/** `options` are the client's, such as `rooms` and `since`, and `by`. */
export const rowcast = (who, options) => lineOf(connectAs(who, options));

export function lineOf(connection) {
  return {
    get status() {
      return connection.status;
    },
    get reason() {
      return connection.reason;
    },
    get over() {
      return TRANSPORTS[connection.transport];
    },
    on(kind, listener) {
      if (kind === "event") connection.on("*", (_, event) => listener(event));
      else connection.on(kind, listener);
    },
    close: () => connection.close(),
    reconnect: () => connection.reconnect(),
  };
}
