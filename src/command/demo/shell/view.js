// What every view of every system shares: a line of its own, drawing once a frame, and a head that
// says how the line is. Events go to the feed as well.
// It must never claim more than the line's status says.
//
// A line is a connection, whichever library makes it (rowcast.js, socketio.js):
//   status              "connecting", "live", "recovering", "offline" or "refused"; reason: in words
//   over                how it is connected, in words
//   on(kind, listener)  "status"; "event" ({id, name, data, at}); "gap" ({reason}); "error"
//   close(), reconnect()

import { plural } from "./clock.js";
import { beforePaint, element, find, flash, setText } from "./dom.js";
import { showEvent } from "./feed.js";

const STATUS_WORDS = { connecting: "Connecting", live: "Live", recovering: "Recovering", offline: "Offline", refused: "Refused" };
const CUT = 5000; // ms: time enough to run a statement meanwhile

export class View {
  #missed = 0; // events that came late, since the view was live last
  #isAnew = false; // whether there was a gap since then
  #came = ""; // what became of what was missed, in words
  #over; // how the line was connected when that was said
  #cut = 0; // timer of the visitor's own cut
  #dirty = new Set();
  #planned = false;

  /** `who` names the section `#view-WHO`. */
  constructor(who, line) {
    this.who = who;
    this.line = line;
    this.root = find(`#view-${who}`);
    this.#drawHead();
    line.on("status", () => this.showStatus());
    line.on("event", (event) => this.#take(event));
    line.on("gap", ({ reason }) => {
      this.#isAnew = true;
      this.say(`What was missed is not known (${reason}): reading everything anew`);
    });
    line.on("error", (error) => this.say(error.message));
  }

  // ---- What a view says of itself ----

  /** What an event changes here: [key, words or null] for each place. */
  changes(_event) {
    return [];
  }

  /** Draws what is known; `keys` have changed since the last time. */
  draw(_keys) {}

  /** An event in words, or nothing: then its payload is shown. */
  describe(_event) {}

  /** What deserves a toast: {title, message, severity}, or nothing. */
  toast(_event, _replayed) {}

  /** Whether all that is shown is as new as the line. */
  get isCaughtUp() {
    return true;
  }

  /** The nodes that show `key` in this view, for flashing and for outlining. */
  nodes(key) {
    const within = key.startsWith("toast:") ? document : this.root;
    return [...within.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)];
  }

  // ---- What it does ----

  /** For the visitor to see a resume: no connection for a while, then back from the bookmark. */
  cut() {
    this.#cut = setTimeout(() => this.again(), CUT);
    this.line.close();
  }

  again() {
    clearTimeout(this.#cut);
    this.#cut = 0;
    this.line.reconnect();
  }

  get isLive() {
    return this.line.status === "live" && this.isCaughtUp;
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
      for (const key of keys) this.nodes(key).forEach(flash);
      this.showStatus();
    });
  }

  #take(event) {
    const replayed = !this.isLive;
    this.#missed += Number(replayed);
    const changes = this.changes(event);
    for (const [key] of changes) this.touch(key);
    this.plan();
    showEvent(this, event, replayed, changes.filter(([, words]) => words));
  }

  #drawHead() {
    const { who, root } = this;
    const { title, letter, tone } = root.dataset;
    const cut = element("button", { class: "quiet", "data-cut": who }, "Cut for 5 s");
    const again = element("button", { class: "quiet", "data-again": who, hidden: true }, "Connect now");
    cut.addEventListener("click", () => this.cut());
    again.addEventListener("click", () => this.again());
    root.setAttribute("aria-labelledby", `${who}-title`);
    root.tabIndex = -1;
    root.prepend(element("header", { class: "card-head" },
      element("h2", { id: `${who}-title` }, element("span", { class: "badge", "data-tone": tone, "aria-hidden": "true" }, letter), title),
      element("div", { class: "line" }, cut, again,
        element("div", { class: "pill", id: `connection-${who}`, "data-status": "connecting", role: "status" },
          element("i", { "aria-hidden": "true" }), element("b", { "data-word": true }, "Connecting"))),
      element("p", { class: "reason" }, element("span", { "data-reason": who }, "Opening the connection"))));
  }

  /** The line's status, but live only when all that the view shows is. */
  showStatus() {
    const { status, reason, over } = this.line;
    const shown = status === "live" && !this.isLive ? "recovering" : status;
    const pill = find(`#connection-${this.who}`);
    if (shown === "live") {
      const wasLive = pill.dataset.status === "live";
      if (wasLive && over === this.#over) return;
      if (!wasLive) this.#came = this.#isAnew ? "Everything was read anew" : this.#missed ? `Recovered ${plural(this.#missed, "missed event")}, none twice` : "Nothing was missed";
      this.#missed = 0;
      this.#isAnew = false;
      this.#over = over;
      this.say(`${this.#came}, over ${over}`);
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
