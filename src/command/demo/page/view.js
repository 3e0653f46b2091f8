// What a user's and an admin's view share: a connection, a model of their own, drawing once a frame.
// Events go to the feed as well. It must never claim more than the connection's status says.

import { beforePaint, find, setText } from "./dom.js";
import { showEvent } from "./feed.js";
import { Model } from "./model.js";

const STATUS_WORDS = { connecting: "Connecting", live: "Live", recovering: "Recovering", offline: "Offline", refused: "Refused" };

/** What a user's and an admin's view share: a connection, a model of their own, drawing once a frame. */
export class View {
  constructor(who, state, rooms) {
    this.who = who;
    this.root = find(`#view-${who}`);
    this.model = new Model(state);
    this.dirty = new Set();
    this.held = null; // events that arrive while the state is read anew
    this.connection = new Connection({
      who,
      bookmark: state.bookmark,
      rooms,
      onEvent: (frame, arrival) => (this.held ? this.held.push([frame, arrival]) : this.take(frame, arrival)),
      onGap: () => this.readAnew(),
      onStatus: (status, reason) => this.showStatus(status, reason),
    });
    find(`[data-cut="${who}"]`).addEventListener("click", () => this.connection.cut(5000));
    find(`[data-again="${who}"]`).addEventListener("click", () => this.connection.open());
  }

  take(frame, arrival) {
    if (frame.name === "reset" || frame.name.endsWith(":reset")) this.readAnew();
    const changes = this.model.apply(frame.name, frame.data ?? {}, this.connection.user);
    for (const [key] of changes) this.touch(key);
    const listed = [...changes.filter(([, words]) => words), ...this.seen(frame)];
    this.plan();
    showEvent(this.who, this.model, frame, arrival, listed);
  }

  /** Reads the state anew, and once more for every gap that opened while a reading was under way. */
  readAnew() {
    this.gaps = (this.gaps ?? 0) + 1;
    this.reading ??= this.#read().finally(() => { this.reading = null; });
    return this.reading;
  }

  /** Holds events back while the state is read, then applies them on top: they carry whole values,
   *  so one that the state already contains does no harm, and none falls in between. */
  async #read() {
    this.held = [];
    for (let wait = LIMITS.retryFirst, read = false; !read; wait = Math.min(wait * 2, LIMITS.retryCap)) {
      // What is held now was committed before the reading below, which therefore contains it.
      if (this.held.length > LIMITS.idsKept) this.held.length = 0;
      const gaps = this.gaps;
      try {
        const state = await fetchJson("/demo/state");
        this.model.replace(state);
        this.replaced(state.bookmark);
        read = gaps === this.gaps;
      } catch {
        await pause(Math.random() * wait);
      }
    }
    const held = this.held;
    this.held = null;
    this.drawAll();
    for (const [frame, arrival] of held) this.take(frame, arrival);
  }

  touch(key) {
    this.dirty.add(key);
  }

  plan() {
    if (this.planned) return;
    this.planned = true;
    beforePaint(() => {
      this.planned = false;
      const keys = [...this.dirty];
      this.dirty.clear();
      this.draw(keys);
    });
  }

  /** The nodes that show `key` in this view, for flashing and for outlining. */
  nodes(key) {
    const [kind, id] = key.split(":");
    if (kind === "toast") return [...document.querySelectorAll(`[data-key="${key}"]`)];
    const selector = { slot: `[data-slot="${id}"]`, lab: `[data-lab="${id}"]` }[kind] ?? `li[data-key="${key}"]`;
    return [...this.root.querySelectorAll(selector)];
  }

  showStatus(status, reason) {
    const pill = find(`#connection-${this.who}`);
    pill.dataset.status = status;
    setText(find("[data-word]", pill), STATUS_WORDS[status]);
    setText(find(`[data-reason="${this.who}"]`), reason);
    const away = status === "refused" || status === "offline";
    find(`[data-again="${this.who}"]`).hidden = !away;
    find(`[data-cut="${this.who}"]`).hidden = away;
  }
}
