// What a user's and an admin's view share: a connection, a model of their own, drawing once a frame.
// Events go to the feed as well. It must never claim more than the connection's status says.

import { connect } from "/client/index.js";
import { plural } from "./clock.js";
import { beforePaint, find, setText } from "./dom.js";
import { showEvent } from "./feed.js";
import { Model } from "./model.js";
import { fetchToken } from "./server.js";

const STATUS_WORDS = { connecting: "Connecting", live: "Live", recovering: "Recovering", offline: "Offline", refused: "Refused" };
const TRANSPORT_WORDS = { websocket: "WebSocket", sse: "server-sent events", poll: "long poll" };

export class View {
  #missed = 0; // events that came late, since the view was live last
  #cut = 0; // timer of the visitor's own cut
  #dirty = new Set();
  #planned = false;

  constructor(who, rendered) {
    this.who = who;
    this.root = find(`#view-${who}`);
    this.connection = connect({ url: location.origin, token: () => fetchToken(who) });
    this.model = new Model(this.connection, rendered, (status) => {
      if (status !== "live") this.showStatus();
      this.plan();
    });
    this.connection.on("status", () => this.showStatus());
    this.connection.on("gap", ({ reason }) => this.say(`Too much was missed (${reason}): reading everything anew`));
    this.connection.on("error", (error) => this.say(error.message));
    this.connection.on("*", (_, event) => this.#take(event));
    this.connection.on("reset", () => this.model.reload());
    find(`[data-cut="${who}"]`).addEventListener("click", () => this.cut(5000));
    find(`[data-again="${who}"]`).addEventListener("click", () => this.again());
  }

  /** For the visitor to see a resume: no connection for `ms`, then back from the bookmark. */
  cut(ms) {
    this.#cut = setTimeout(() => this.again(), ms);
    this.connection.close();
  }

  again() {
    clearTimeout(this.#cut);
    this.#cut = 0;
    this.connection.reconnect();
    this.model.reload({ onlyFailed: true });
  }

  get isLive() {
    return this.connection.status === "live" && this.model.caughtUp;
  }

  #take(event) {
    const replayed = !this.isLive;
    this.#missed += Number(replayed);
    const changes = this.model.changes(event);
    for (const [key] of changes) this.touch(key);
    const listed = [...changes.filter(([, words]) => words), ...this.seen(event)];
    this.plan();
    showEvent(this.who, this.model, event, replayed, listed);
  }

  touch(key) {
    this.#dirty.add(key);
  }

  plan() {
    if (this.#planned) return;
    this.#planned = true;
    beforePaint(() => {
      this.#planned = false;
      const keys = [...this.#dirty];
      this.#dirty.clear();
      this.draw(keys);
      this.showStatus();
    });
  }

  /** The nodes that show `key` in this view, for flashing and for outlining. */
  nodes(key) {
    const [kind, id] = key.split(":");
    if (kind === "toast") return [...document.querySelectorAll(`[data-key="${key}"]`)];
    const selector = { slot: `[data-slot="${id}"]`, lab: `[data-lab="${id}"]` }[kind] ?? `li[data-key="${key}"]`;
    return [...this.root.querySelectorAll(selector)];
  }

  /** The connection's status, but live only when all that the view shows is. */
  showStatus() {
    const { status, reason, transport } = this.connection;
    const shown = status === "live" && !this.isLive ? "recovering" : status;
    const pill = find(`#connection-${this.who}`);
    if (shown === "live") {
      if (pill.dataset.status === "live") return;
      const missed = this.#missed ? `Recovered ${plural(this.#missed, "missed event")}, none twice` : "Nothing was missed";
      this.#missed = 0;
      this.say(`${missed}, over ${TRANSPORT_WORDS[transport]}`);
    } else {
      this.say(this.#cut ? "Cut by you. Soon back, from the last bookmark" : reason || "Reading what the page shows");
    }
    pill.dataset.status = shown;
    setText(find("[data-word]", pill), STATUS_WORDS[shown]);
    const isAway = shown === "refused" || shown === "offline";
    find(`[data-again="${this.who}"]`).hidden = !isAway;
    find(`[data-cut="${this.who}"]`).hidden = isAway;
  }

  say(words) {
    setText(find(`[data-reason="${this.who}"]`), words);
  }
}
