// The demo page: two connections with two tokens, each feeding a view of its own, so that one sees
// what a user may see and what an admin may see. It starts from the data and the bookmark that the
// server printed into the page, and changes only what an event says has changed.
// It must never send SQL (statements run by number), show one view what only the other one
// received, or claim to be live when that isn't proven.
//
// One file, because it is served as it is, without a build step; in the order of the flow: clock, Connection (a WebSocket that comes back), Model (what is known),
// the two views (what is seen), feed, toasts, statements, start.

const LIMITS = {
  idsKept: 5000, // remembered for deduplication: more than the largest replay's overlap
  feedRows: 60, // older ones leave the screen
  latencies: 200, // what the medians run over
  activityRows: 7,
  toasts: 4,
  changesListed: 14, // of one statement; the rest is a number
  retryFirst: 250, // ms; doubled with each failure, then drawn at random from 0 to that
  retryCap: 15_000, // ms: somebody looks at the page, so a minute would feel broken
  serverDelayCap: 60_000, // ms: believe a server's wish to wait only so far
  tokenTries: 3, // refused tokens in a row before we stop and ask the visitor
  settled: 5_000, // ms of being live before the count of failures starts anew
};

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const find = (selector, within = document) => within.querySelector(selector);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** An element with attributes and children; text always as text, never as markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** Runs before the next paint, or soon where nothing is painted (a hidden tab gets no frames). */
function beforePaint(work) {
  if (document.hidden) setTimeout(work, 50);
  else requestAnimationFrame(work);
}

/** Runs right after the paint that follows: a message is taken up only once the frame is done. */
function afterPaint(work) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = work;
  port2.postMessage(null);
}

// ---- Clock: `at` is the database's clock, which in the demo is this machine's as well ----

let clockBase = performance.timeOrigin;

/** Milliseconds since 1970 with fractions. performance.now() doesn't follow when the system's
 *  clock is set or slewed, so the base is taken anew as soon as it disagrees with Date. */
function clock() {
  const fine = clockBase + performance.now();
  const drift = Date.now() - fine;
  if (drift > 1 || drift < -2) {
    clockBase += drift;
    return fine + drift;
  }
  return fine;
}

/** Date.parse keeps milliseconds; at this speed the microseconds matter. */
function parseInstant(text) {
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? "";
  return Date.parse(text) + Number(micros.padEnd(3, "0") || 0) / 1000;
}

/** Between other machines the clocks differ, and then a number would be a lie: null. */
const plausible = (ms) => (ms > -3 && ms < 60_000 ? Math.max(ms, 0) : null);

function median(numbers) {
  if (numbers.length === 0) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

const milliseconds = (ms) => (ms === null ? "–" : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
const zone = { timeZone: "UTC" }; // a lab's calendar shows the lab's hours, wherever one reads it
const formatDay = new Intl.DateTimeFormat("en-GB", { weekday: "short", ...zone });
const formatDate = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", ...zone });
const formatHour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", ...zone });
const formatSecond = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// ---- Connection ----

/** What a close code means to a visitor, and what follows: come back by ourselves, at the server's
 *  time, with a new token, or only when asked to. Codes not listed are an abnormal end: again. */
const CLOSES = {
  1008: ["token", "The server did not accept the token"],
  1009: ["stop", "The server found a message too big"],
  1012: ["wait", "The server restarts"],
  1013: ["wait", "The server is busy"],
  4000: ["again", "We were too slow; coming back from the last bookmark"],
  4001: ["token", "The token has expired"],
  4002: ["token", "The token was revoked"],
  4003: ["stop", "Too many connections from here"],
  4004: ["stop", "The server did not understand us"],
  4005: ["again", "The server missed our answers"],
};

/** `expiresAt` in ms: seconds as in a JWT, or a timestamp. */
function expiry(value) {
  if (typeof value === "number") return value < 1e12 ? value * 1000 : value;
  return value ? Date.parse(value) : Infinity;
}

/** One WebSocket that comes back by itself, without losing or repeating an event. */
class Connection {
  #socket = null;
  #token = null;
  #failures = 0;
  #refusals = 0;
  #timers = {};
  #lastFrame = 0;
  #heartbeat = 25;
  #replayLeft = 0; // frames of a replay still to come
  #recovered = 0;
  #ids = new Set();
  #pending = new Map(); // id of a subscribe in flight -> its room
  #lastId = 0;
  #resumed = false;
  // room -> the bookmark it is true at, or null once it is carried by the connection's own bookmark
  #rooms = new Map();

  constructor({ who, bookmark, rooms, onEvent, onGap, onStatus }) {
    Object.assign(this, { who, bookmark, onEvent, onGap, onStatus, user: null });
    for (const room of rooms) this.#rooms.set(room, null);
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.status === "offline" && !this.#timers.cut && this.open());
    addEventListener("offline", () => this.#lost("This device is offline"));
  }

  /** Opens at once, whatever was planned. */
  async open() {
    this.#drop();
    const attempt = (this.attempt = {}); // an older attempt that wakes up late finds another one here
    this.#say("connecting", this.#failures ? `Try ${this.#failures + 1}` : "Opening the connection");
    try {
      this.#token ??= await fetchToken(this.who);
    } catch (error) {
      if (attempt === this.attempt) this.#again(`No token: ${error.message}`);
      return;
    }
    if (attempt !== this.attempt) return;
    const url = new URL("/ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    // The bookmark in the URL is for all rooms in it: a room with a place of its own follows later.
    const rooms = [...this.#rooms].filter(([, place]) => place === null).map(([room]) => room);
    if (rooms.length) url.searchParams.set("rooms", rooms.join(","));
    if (this.bookmark) url.searchParams.set("since", this.bookmark);
    this.#resumed = Boolean(this.bookmark);
    // The token travels as a subprotocol: a URL would end up in logs.
    const socket = new WebSocket(url, ["rowcast.v1", `bearer.${this.#token}`]);
    this.#socket = socket;
    this.#lastFrame = performance.now();
    socket.onmessage = ({ data }) => this.#frame(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  /** For the visitor to see a resume: no connection for `ms`, then back from the bookmark. */
  cut(ms) {
    this.#drop();
    this.#say("offline", `Cut by you. Back in ${ms / 1000} s, from the last bookmark`);
    this.#timers.cut = setTimeout(() => this.open(), ms);
  }

  /** Joins a room whose data on the page is true at `place`, which may be older than the rest. */
  join(room, place) {
    this.#rooms.set(room, place);
    if (this.user !== null) this.#subscribe(room, place);
  }

  /** Leaves a room; answers the bookmark from which it can be joined again without loss. */
  leave(room) {
    const place = this.#rooms.get(room) ?? this.bookmark;
    this.#rooms.delete(room);
    if (this.user !== null) this.#send({ type: "unsubscribe", rooms: [room] });
    return place;
  }

  #subscribe(room, since) {
    const id = ++this.#lastId;
    this.#pending.set(id, room);
    this.#send({ type: "subscribe", rooms: [room], since, id });
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #frame(frame) {
    this.#lastFrame = performance.now();
    switch (frame.type) {
      case "welcome": return this.#welcome(frame);
      case "subscribed": this.#subscribed(frame); break;
      case "event": this.#event(frame); break;
      case "heartbeat": this.#replayEnded(); break;
      case "gap": this.#gap(frame.reason); break;
      case "authenticated": this.#refreshBefore(frame.expiresAt); return;
      case "error": return this.#error(frame);
      default: return; // unknown types are for newer pages than this one
    }
    // Only frames of the stream itself move the place we would come back to.
    if (frame.bookmark) this.bookmark = frame.bookmark;
  }

  #welcome(frame) {
    this.user = String(frame.user);
    this.#heartbeat = frame.heartbeat ?? this.#heartbeat;
    this.#refusals = 0;
    this.#refreshBefore(frame.expiresAt);
    this.#timers.settled = setTimeout(() => { this.#failures = 0; }, LIMITS.settled);
    for (const [room, place] of this.#rooms) if (place !== null) this.#subscribe(room, place);
    if (this.#resumed) {
      // What lies between our bookmark and this frame is still to come, so its bookmark isn't our
      // place yet: a cut right here would lose it. `subscribed` follows.
      this.#say("recovering", "Catching up from the last bookmark");
    } else {
      this.bookmark = frame.bookmark;
      this.#say("live", "Connected");
    }
  }

  #subscribed(frame) {
    const room = this.#pending.get(frame.id);
    this.#pending.delete(frame.id);
    if (room !== undefined && this.#rooms.has(room)) this.#rooms.set(room, null);
    if (frame.outcome === "gap") return this.#gap(frame.reason);
    this.#recovered = frame.outcome === "recovered" ? frame.count ?? 0 : 0;
    this.#replayLeft += this.#recovered;
    if (this.#replayLeft > 0) this.#say("recovering", `Replaying ${plural(this.#replayLeft, "missed event")}`);
    else this.#say("live", "Nothing was missed");
  }

  #event(frame) {
    const replayed = this.#replayLeft > 0;
    if (replayed && --this.#replayLeft === 0) this.#replayEnded(true);
    if (frame.id !== undefined) {
      if (this.#ids.has(frame.id)) return;
      this.#ids.add(frame.id);
      if (this.#ids.size > LIMITS.idsKept) this.#ids.delete(this.#ids.values().next().value);
    }
    this.onEvent(frame, { replayed, arrived: clock() });
  }

  #replayEnded(exact = false) {
    if (this.status !== "recovering" || this.catchingUp) return;
    this.#replayLeft = 0;
    this.#say("live", exact ? `Recovered ${plural(this.#recovered, "missed event")}, none twice` : "Connected");
  }

  /** The stream has a hole. What the page shows is read anew, and in another history of the
   *  database ids may come again, so none is remembered. */
  async #gap(reason) {
    this.#ids.clear();
    this.#replayLeft = 0;
    this.#say("recovering", `Too much was missed (${reason ?? "gap"}): reading everything anew`);
    this.catchingUp = true;
    try {
      await this.onGap();
    } finally {
      this.catchingUp = false;
    }
    if (this.user !== null) this.#say("live", "Read anew after a gap");
  }

  #error(frame) {
    const room = this.#pending.get(frame.id);
    this.#pending.delete(frame.id);
    if (room ?? frame.room) this.#rooms.delete(room ?? frame.room);
    const where = frame.room ? `${frame.room}: ` : "";
    this.#say(this.status, `${where}${frame.message ?? frame.code}`);
  }

  /** A connection never outlives its token: a new one is handed in when 4/5 of its life are over. */
  #refreshBefore(expiresAt) {
    clearTimeout(this.#timers.refresh);
    const left = expiry(expiresAt) - clock();
    if (!Number.isFinite(left)) return;
    // setTimeout overflows above 2^31 ms; a day later is early enough to ask again.
    this.#timers.refresh = setTimeout(() => this.#refresh(expiresAt), Math.min(Math.max(left * 0.8, 0), 86_400_000));
  }

  async #refresh(expiresAt) {
    const socket = this.#socket;
    try {
      const token = await fetchToken(this.who);
      if (socket !== this.#socket) return;
      this.#token = token;
      this.#send({ type: "auth", token });
    } catch {
      // Perhaps in a while; if not at all, the server closes with 4001 and we say so.
      await pause(2000);
      if (socket === this.#socket && expiry(expiresAt) > clock()) this.#refresh(expiresAt);
    }
  }

  /** A page can't see WebSocket pings: two heartbeats without a frame, and the link is dead. */
  #watch() {
    const silent = performance.now() - this.#lastFrame;
    if (this.#socket && silent > 2000 * this.#heartbeat) this.#lost("The link went silent");
  }

  #lost(words) {
    if (!this.#socket) return;
    this.#drop(); // its close event may take minutes on a dead link
    this.#again(words);
  }

  #closed(code, reason) {
    this.#drop();
    const [then, words] = CLOSES[code] ?? ["again", "The connection broke"];
    const wait = /^\d+$/.test(reason) ? Math.min(Number(reason), LIMITS.serverDelayCap) : undefined;
    if (then === "stop") return this.#say("refused", words);
    if (then === "wait") return this.#again(words, wait);
    if (then === "token") {
      this.#token = null;
      if (++this.#refusals >= LIMITS.tokenTries) return this.#say("refused", words);
    }
    this.#again(words);
  }

  /** Full jitter: any time between now and the bound, so that a thousand pages don't come at once. */
  #again(words, wait) {
    const bound = Math.min(LIMITS.retryCap, LIMITS.retryFirst * 2 ** this.#failures++);
    const delay = wait ?? Math.random() * bound;
    this.#say("offline", `${words}. Next try ${delay < 950 ? "at once" : `in ${Math.ceil(delay / 1000)} s`}`);
    this.#timers.retry = setTimeout(() => this.open(), delay);
  }

  #drop() {
    for (const name of Object.keys(this.#timers)) clearTimeout(this.#timers[name]);
    this.#timers = {};
    this.#pending.clear();
    this.#replayLeft = 0;
    this.user = null;
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #say(status, reason) {
    this.status = status;
    this.onStatus(status, reason);
  }
}

async function fetchJson(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error?.message ?? `the server answered ${response.status}`);
  return body;
}

const fetchToken = async (who) => (await fetchJson(`/demo/token/${who}`)).token;

// ---- Model: what one view knows. Changes come back as [key of what is drawn, words] ----

const byId = (rows, name) => new Map(rows.map((row) => [String(row[name]), { ...row }]));

class Model {
  constructor(state) {
    this.replace(state);
  }

  replace(state) {
    this.labs = byId(state.labs, "labId");
    this.slots = byId(state.slots, "slotId");
    this.bookings = byId(state.bookings, "bookingId");
    this.waitlist = byId(state.waitlist, "waitlistId");
    this.now = state.now;
  }

  slotName(slotId) {
    const slot = this.slots.get(String(slotId));
    if (!slot) return `Slot ${slotId}`;
    const starts = new Date(slot.startsAt);
    return `${formatDay.format(starts)} ${formatHour.format(starts)}`;
  }

  dayOfMonth(slotId) {
    const slot = this.slots.get(String(slotId));
    return slot ? new Date(slot.startsAt).getUTCDate() : "–";
  }

  labName(labId) {
    return this.labs.get(String(labId))?.name ?? `Lab ${labId}`;
  }

  labOfSlot(slotId) {
    return this.labName(this.slots.get(String(slotId))?.labId);
  }

  level(slot) {
    if (slot.status === "closed") return "closed";
    if (slot.availableSpots <= 0) return "full";
    return slot.availableSpots <= Math.max(1, slot.capacity / 4) ? "few" : "plenty";
  }

  /** What `user` has to do with a slot: booked, waiting (with the place in line) or nothing. */
  mine(slotId) {
    for (const booking of this.bookings.values()) {
      if (booking.slotId === slotId && booking.status !== "cancelled") return { kind: "booked", words: "Yours" };
    }
    for (const waiting of this.waitlist.values()) {
      if (waiting.slotId === slotId) return { kind: "waiting", words: `#${waiting.position}` };
    }
    return null;
  }

  apply(name, data, user) {
    const own = String(data.userId) === user;
    switch (name) {
      case "time-slot:updated": return this.#slot(data);
      case "booking:created": return own ? this.#booked(data) : [];
      case "booking:updated": return this.#booking(data, data.status);
      case "booking:cancelled": return this.#booking(data, "cancelled");
      case "waitlist:position-changed": return own ? this.#moved(data) : [];
      case "waitlist:spot-available": return own ? this.#offered(data) : [];
      case "lab:status-changed": return this.#lab(data);
      default: return [];
    }
  }

  #slot(data) {
    const slot = this.slots.get(String(data.slotId));
    if (!slot) return []; // of another week
    const before = `${slot.availableSpots}`;
    Object.assign(slot, { status: data.status, availableSpots: data.availableSpots });
    const spots = before === `${data.availableSpots}` ? data.status : `${before} → ${data.availableSpots} left`;
    return [[`slot:${data.slotId}`, `${this.slotName(data.slotId)} ${spots}`]];
  }

  #booked(data) {
    this.bookings.set(String(data.bookingId), { ...data });
    return [
      [`booking:${data.bookingId}`, `Booking ${data.bookingId} is new`],
      [`slot:${data.slotId}`, null],
    ];
  }

  #booking(data, status) {
    const booking = this.bookings.get(String(data.bookingId));
    if (!booking) return [];
    booking.status = status;
    return [
      [`booking:${data.bookingId}`, `Booking ${data.bookingId} ${status}`],
      [`slot:${booking.slotId}`, null],
    ];
  }

  #moved(data) {
    const key = String(data.waitlistId);
    const waiting = this.waitlist.get(key) ?? { waitlistId: data.waitlistId, slotId: data.slotId, status: "waiting" };
    if (data.newPosition > 0) this.waitlist.set(key, { ...waiting, position: data.newPosition, before: data.oldPosition });
    else this.waitlist.delete(key);
    return [
      [`waitlist:${key}`, `In line ${data.oldPosition ?? "–"} → ${data.newPosition || "out"}`],
      [`slot:${data.slotId}`, null],
    ];
  }

  #offered(data) {
    const key = String(data.waitlistId);
    const waiting = this.waitlist.get(key) ?? { ...data, position: 1 };
    this.waitlist.set(key, { ...waiting, status: "offered" });
    return [[`waitlist:${key}`, `A spot on ${this.slotName(data.slotId)}`]];
  }

  #lab(data) {
    const lab = this.labs.get(String(data.labId));
    if (!lab) return [];
    Object.assign(lab, { status: data.status, reason: data.reason });
    return [[`lab:${data.labId}`, `${lab.name}: ${data.status}`]];
  }
}

// ---- Drawing what both views have ----

function flash(node) {
  node.classList.remove("flash");
  void node.offsetWidth; // restarts the animation for the second change in a second
  node.classList.add("flash");
  clearTimeout(node.flashEnds);
  node.flashEnds = setTimeout(() => node.classList.remove("flash"), 1100);
}

/** A week as a table: one row an hour, one column a day, in each cell the slots that start then. */
function drawCalendar(model, labId, { small, caption }) {
  const slots = [...model.slots.values()].filter((slot) => slot.labId === labId);
  const day = (slot) => slot.startsAt.slice(0, 10);
  const hour = (slot) => formatHour.format(new Date(slot.startsAt));
  const days = [...new Set(slots.map(day))].sort();
  const hours = [...new Set(slots.map(hour))].sort();
  const head = days.map((date) => element("th", { scope: "col", class: date === model.now.slice(0, 10) && "today" },
    element("b", {}, formatDay.format(new Date(date))), small ? formatDay.format(new Date(date)) : formatDate.format(new Date(date))));
  const body = hours.map((at) => element("tr", {}, element("th", { scope: "row" }, at),
    ...days.map((date) => element("td", {}, ...slots
      .filter((slot) => day(slot) === date && hour(slot) === at)
      .map((slot) => drawSlot(model, slot, small))))));
  const table = element("table", { class: small ? "calendar small" : "calendar", "aria-label": caption },
    element("thead", {}, element("tr", {}, element("td"), ...head)), element("tbody", {}, ...body));
  return table;
}

function drawSlot(model, slot, small) {
  const node = element("div", { class: small ? "slot tiny" : "slot", "data-slot": slot.slotId, "data-past": slot.endsAt < model.now },
    element("div", { class: "spots" }, element("b", { "data-spots": "" }), element("span", { class: "of" })),
    element("div", { class: "bar" }, element("i")), element("span", { class: "mark-mine", hidden: true }));
  fillSlot(node, model, slot, !small);
  return node;
}

function fillSlot(node, model, slot, showMine) {
  const level = model.level(slot);
  const spots = find("[data-spots]", node);
  setText(spots, slot.availableSpots);
  spots.dataset.spots = slot.availableSpots;
  setText(find(".of", node), level === "full" || level === "closed" ? level : `of ${slot.capacity}`);
  node.dataset.level = level;
  node.dataset.status = slot.status;
  node.title = `${model.slotName(slot.slotId)}: ${slot.availableSpots} of ${slot.capacity} left`;
  node.style.setProperty("--share", Math.max(0, Math.min(1, slot.availableSpots / slot.capacity)));
  const mine = showMine ? model.mine(slot.slotId) : null;
  const mark = find(".mark-mine", node);
  mark.hidden = !mine;
  setText(mark, mine?.words ?? "");
  if (mine) node.dataset.mine = mine.kind;
  else delete node.dataset.mine;
}

/** Makes a list show `items` in their order; rows that stay glide to their new place, new ones fade
 *  in, rows that go fade out of the way. */
function drawList(list, items, { key, make, fill }) {
  const old = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const was = new Map([...old.values()].map((row) => [row, row.offsetTop]));
  const rows = items.map((item) => {
    const row = old.get(key(item)) ?? make(item);
    row.dataset.key = key(item);
    old.delete(key(item));
    fill?.(row, item);
    return row;
  });
  for (const row of old.values()) row.remove();
  rows.forEach((row, place) => {
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  if (calm.matches) return;
  for (const row of rows) {
    if (!was.has(row)) {
      row.animate([{ opacity: 0, transform: "translateY(-8px)" }, { opacity: 1, transform: "none" }], { duration: 260, easing: "ease-out" });
    } else if (was.get(row) !== row.offsetTop) {
      row.animate([{ transform: `translateY(${was.get(row) - row.offsetTop}px)` }, { transform: "none" }], { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)" });
    }
  }
}

/** A number that rolls to its new value, so that one sees in which direction a place moved. */
function roll(node, value) {
  const before = node.textContent;
  if (before === String(value)) return;
  node.textContent = value;
  if (calm.matches || before === "") return;
  const from = Number(value) < Number(before) ? 100 : -100;
  node.animate([{ transform: `translateY(${from}%)`, opacity: 0 }, { transform: "none", opacity: 1 }], { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)" });
}

const STATUS_WORDS = { connecting: "Connecting", live: "Live", recovering: "Recovering", offline: "Offline", refused: "Refused" };

/** What a user's and an admin's view share: a connection, a model of their own, drawing once a frame. */
class View {
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

// ---- The user's view: one lab's week, my bookings, my places in line ----

class UserView extends View {
  constructor(state) {
    const first = state.labs[0].labId;
    super("user", state, [`lab:${first}`]);
    // Labs not shown aren't listened to; each keeps the bookmark its data is true at, and joining
    // its room from there brings exactly what was missed meanwhile.
    this.places = new Map(state.labs.map((lab) => [lab.labId, state.bookmark]));
    this.lab = first;
    this.drawAll();
  }

  replaced(bookmark) {
    for (const lab of this.places.keys()) this.places.set(lab, bookmark);
  }

  seen() {
    return [];
  }

  select(lab) {
    if (lab === this.lab) return;
    this.places.set(this.lab, this.connection.leave(`lab:${this.lab}`));
    this.lab = lab;
    this.connection.join(`lab:${lab}`, this.places.get(lab));
    this.drawAll();
  }

  drawAll() {
    const labs = [...this.model.labs.values()];
    const focused = find("#labs").contains(document.activeElement);
    find("#labs").replaceChildren(...labs.map((lab) => element("button", {
      role: "tab", id: `tab-${lab.labId}`, "data-lab": lab.labId, "data-status": lab.status,
      "aria-controls": "lab-panel", "aria-selected": String(lab.labId === this.lab), tabindex: lab.labId === this.lab ? 0 : -1,
    }, element("i", { "aria-hidden": "true" }), lab.name)));
    if (focused) find(`#tab-${this.lab}`).focus();
    find("#lab-panel").setAttribute("aria-labelledby", `tab-${this.lab}`);
    find("#calendar").replaceChildren(drawCalendar(this.model, this.lab, { caption: `${this.model.labName(this.lab)}: spots left this week` }));
    this.draw(["lab", "booking", "waitlist"]);
  }

  draw(keys) {
    const kinds = new Set(keys.map((key) => key.split(":")[0]));
    // A place in line moved, so its mark in the calendar did as well: marks are cheap, redraw all.
    for (const node of this.root.querySelectorAll("[data-slot]")) {
      const slot = this.model.slots.get(node.dataset.slot);
      if (slot) fillSlot(node, this.model, slot, true);
    }
    if (kinds.has("lab")) this.#drawLab();
    if (kinds.has("booking")) this.#drawBookings();
    if (kinds.has("waitlist")) this.#drawWaitlist();
    for (const key of keys) this.nodes(key).forEach(flash);
  }

  #drawLab() {
    for (const lab of this.model.labs.values()) find(`#tab-${lab.labId}`).dataset.status = lab.status;
    const lab = this.model.labs.get(String(this.lab));
    find("#calendar").dataset.labStatus = lab.status;
    const notice = find("#lab-notice");
    notice.hidden = lab.status === "open";
    notice.dataset.status = lab.status;
    const words = lab.status === "maintenance" ? "is under maintenance" : `is ${lab.status}`;
    setText(notice, `${lab.name} ${words}${lab.reason ? `: ${lab.reason}` : ""}`);
  }

  #drawBookings() {
    const starts = (booking) => this.model.slots.get(String(booking.slotId))?.startsAt ?? "9";
    const bookings = [...this.model.bookings.values()].sort((a, b) => starts(a).localeCompare(starts(b)) || a.bookingId - b.bookingId);
    drawList(find("#bookings"), bookings, {
      key: (booking) => `booking:${booking.bookingId}`,
      make: () => element("li", {}, element("span", { class: "lead" }), element("p"), element("span", { class: "status" })),
      fill: (row, booking) => {
        const [lead, words, status] = row.children;
        setText(lead, this.model.dayOfMonth(booking.slotId));
        words.replaceChildren(this.model.slotName(booking.slotId), element("small", {}, `#${booking.bookingId} · ${this.model.labName(booking.labId)}`));
        setText(status, booking.status);
        status.dataset.status = booking.status;
        // A cancelled one is seen to be cancelled before it goes.
        if (booking.status === "cancelled" && !booking.leaving) {
          booking.leaving = setTimeout(() => {
            if (booking.status !== "cancelled") return;
            this.model.bookings.delete(String(booking.bookingId));
            this.draw(["booking"]);
          }, 6000);
        }
      },
    });
    const alive = bookings.filter((booking) => booking.status !== "cancelled").length;
    setText(find("#booking-count"), alive);
    find("#bookings-empty").hidden = bookings.length > 0;
  }

  #drawWaitlist() {
    const places = [...this.model.waitlist.values()].sort((a, b) => a.position - b.position || a.waitlistId - b.waitlistId);
    drawList(find("#waitlist"), places, {
      key: (waiting) => `waitlist:${waiting.waitlistId}`,
      make: () => element("li", {}, element("span", { class: "lead" }, element("b", { "data-position": "" })), element("p")),
      fill: (row, waiting) => {
        const offered = waiting.status !== "waiting";
        row.dataset.status = offered ? "offered" : "waiting";
        roll(find("[data-position]", row), waiting.position);
        const line = offered ? "A spot is free: yours to take" : waiting.before ? `was ${waiting.before}, moved ${waiting.before > waiting.position ? "up" : "down"}` : "waiting";
        find("p", row).replaceChildren(this.model.slotName(waiting.slotId), element("small", {}, `${this.model.labOfSlot(waiting.slotId)} · ${line}`));
      },
    });
    setText(find("#waitlist-count"), places.length);
    find("#waitlist-empty").hidden = places.length > 0;
  }
}

// ---- The admin's view: every lab at a glance, and what everybody does ----

const ACTIVITY = {
  "booking:created": ["created", "+"],
  "booking:updated": ["updated", "~"],
  "booking:cancelled": ["cancelled", "−"],
  "payment:completed": ["payment", "¤"],
  "payment:failed": ["payment", "¤"],
  "payment:refunded": ["payment", "¤"],
};

class AdminView extends View {
  constructor(state) {
    super("admin", state, state.labs.map((lab) => `lab:${lab.labId}`));
    this.activity = [];
    this.tally = { created: 0, updated: 0, cancelled: 0, payment: 0 };
    this.drawAll();
  }

  replaced() {}

  /** The admin sees other people's bookings, of which the model keeps none: they pass by. */
  seen(frame) {
    const entry = ACTIVITY[frame.name];
    if (!entry) return [];
    const [kind, mark] = entry;
    const id = frame.data.bookingId;
    const key = `activity:${frame.id}`;
    this.tally[kind] += 1;
    this.activity.unshift({ key, kind: frame.data.status === "confirmed" ? "confirmed" : kind, mark, frame });
    this.activity.length = Math.min(this.activity.length, LIMITS.activityRows);
    this.touch(key);
    return [[key, describe(frame.name, frame.data, this.model) || `Booking ${id}`]];
  }

  drawAll() {
    find("#admin-labs").replaceChildren(...[...this.model.labs.values()].map((lab) => element("section", { class: "lab", "data-lab": lab.labId, "data-status": lab.status },
      element("div", { class: "lab-head", "data-status": lab.status }, element("i", { "aria-hidden": "true" }), element("b", {}, lab.name), element("span", { "data-fill": "" })),
      drawCalendar(this.model, lab.labId, { small: true, caption: `${lab.name}: spots left` }))));
    this.draw(["lab"]);
  }

  draw(keys) {
    for (const key of keys.filter((each) => each.startsWith("slot:"))) {
      const slot = this.model.slots.get(key.slice(5));
      for (const node of this.nodes(key)) if (slot) fillSlot(node, this.model, slot, false);
    }
    for (const lab of this.model.labs.values()) this.#drawHead(lab);
    for (const [kind, count] of Object.entries(this.tally ?? {})) setText(find(`[data-tally="${kind}"]`), count);
    if (keys.some((key) => key.startsWith("activity:"))) this.#drawActivity();
    for (const key of keys) if (!key.startsWith("activity:")) this.nodes(key).forEach(flash);
  }

  #drawHead(lab) {
    const card = find(`[data-lab="${lab.labId}"]`, this.root);
    let capacity = 0;
    let left = 0;
    for (const slot of this.model.slots.values()) {
      if (slot.labId !== lab.labId) continue;
      capacity += slot.capacity;
      left += Math.max(0, slot.availableSpots);
    }
    card.dataset.status = card.dataset.labStatus = find(".lab-head", card).dataset.status = lab.status;
    const taken = capacity ? Math.round((100 * (capacity - left)) / capacity) : 0;
    setText(find("[data-fill]", card), `${lab.status === "open" ? "" : `${lab.status} · `}${left} left · ${taken} % taken`);
  }

  #drawActivity() {
    drawList(find("#activity"), this.activity, {
      key: (entry) => entry.key,
      make: ({ kind, mark, frame }) => element("li", {},
        element("span", { class: "lead", "data-kind": kind, "aria-hidden": "true" }, mark),
        element("p", {}, describe(frame.name, frame.data, this.model)),
        element("time", { datetime: frame.at }, formatSecond.format(new Date(frame.at ?? Date.now())))),
    });
    find("#activity-empty").hidden = this.activity.length > 0;
  }
}

// ---- Feed: every event, who received it, and how long it took ----

const feed = {
  entries: new Map(), // id -> entry, so that both views' receipts of one event share a row
  fresh: [],
  browser: [],
  screen: [],
  count: 0,
  paused: false,
};

/** One event in words, from its payload alone; ids where the page knows no name. */
function describe(name, data, model) {
  const slot = data.slotId === undefined ? "" : model.slotName(data.slotId);
  switch (name) {
    case "booking:created": return `User ${data.userId} booked ${slot}, ${model.labName(data.labId)}`;
    case "booking:updated": return `Booking ${data.bookingId} of user ${data.userId} is ${data.status}`;
    case "booking:cancelled": return `User ${data.userId} left ${slot}, ${model.labName(data.labId)}`;
    case "time-slot:updated": return `${slot}, ${model.labName(data.labId)}: ${data.status === "open" ? `${data.availableSpots} left` : data.status}`;
    case "waitlist:position-changed": return `${slot}: place ${data.oldPosition} → ${data.newPosition}`;
    case "waitlist:spot-available": return `${slot}: a spot for user ${data.userId}`;
    case "lab:status-changed": return `${model.labName(data.labId)} is ${data.status}${data.reason ? `: ${data.reason}` : ""}`;
    case "notification:new":
    case "system:announcement": return data.message ?? "";
    case "payment:completed":
    case "payment:failed":
    case "payment:refunded": return `${data.amount} ${data.currency} of user ${data.userId}, ${data.status}`;
    default: return JSON.stringify(data);
  }
}

function showEvent(who, model, frame, { replayed, arrived }, changes) {
  const key = frame.id ?? `${who}-${frame.at}-${feed.count}`; // at-most-once channels have no ids
  let entry = feed.entries.get(key);
  if (!entry || entry.at !== frame.at || entry.arrivals[who]) {
    entry = { key, frame, at: frame.at, instant: parseInstant(frame.at), arrivals: {}, changes: [], words: describe(frame.name, frame.data ?? {}, model) };
    feed.entries.set(key, entry);
    feed.count += 1;
    if (feed.entries.size > LIMITS.idsKept) feed.entries.delete(feed.entries.keys().next().value);
    const told = announce(entry, model, replayed);
    if (told) entry.changes.push({ who, target: `toast:${key}`, words: `Toast: ${told}` });
  }
  entry.arrivals[who] = { replayed, arrived, took: replayed ? null : plausible(arrived - entry.instant) };
  for (const [target, words] of changes) entry.changes.push({ who, target, words });
  statements.consider(entry);
  feed.fresh.push([entry, who]);
  if (feed.fresh.length === 1) beforePaint(drawFeed);
}

/** Draws all that arrived since the last frame; measures once it has been painted. */
function drawFeed() {
  const fresh = feed.fresh.splice(0);
  const list = find("#feed");
  if (!feed.paused) {
    for (const entry of new Set(fresh.slice(-2 * LIMITS.feedRows).map(([each]) => each))) drawFeedRow(list, entry);
    while (list.children.length > LIMITS.feedRows) list.lastElementChild.remove();
    find("#feed-empty").hidden = true;
  }
  setText(find("#event-count"), feed.count.toLocaleString("en"));
  afterPaint(() => {
    const painted = clock();
    for (const [entry, who] of fresh) measure(entry, who, painted);
    feed.browser.splice(0, feed.browser.length - LIMITS.latencies);
    feed.screen.splice(0, feed.screen.length - LIMITS.latencies);
    setText(find("#median-browser"), milliseconds(median(feed.browser)));
    setText(find("#median-screen"), milliseconds(median(feed.screen)));
    drawSpark();
  });
}

function measure(entry, who, painted) {
  const arrival = entry.arrivals[who];
  if (arrival.took === null) return; // a replay says how long we were away, not how fast this is
  arrival.screen = plausible(painted - entry.instant);
  feed.browser.push(arrival.took);
  if (!document.hidden && arrival.screen !== null) feed.screen.push(arrival.screen);
  if (entry.row?.isConnected) fillTimes(entry);
}

function drawFeedRow(list, entry) {
  const { frame } = entry;
  if (!entry.row) {
    entry.row = element("li", { "data-name": frame.name, "data-id": frame.id, "data-channel": frame.channel },
      element("span", { class: "name", "data-family": frame.name.split(":")[0] }, frame.name),
      element("span", { class: "what", title: JSON.stringify(frame.data) }, entry.words),
      element("span", { class: "times" }));
    list.prepend(entry.row);
  }
  entry.row.dataset.views = Object.keys(entry.arrivals).join(" ");
  fillTimes(entry);
}

function fillTimes(entry) {
  find(".times", entry.row).replaceChildren(...Object.entries(entry.arrivals).map(([who, { replayed, took, screen }]) => element("span",
    { "data-view": who, title: `To the ${who}’s view: commit → browser → screen` },
    replayed ? "replayed" : element("b", {}, milliseconds(took)),
    !replayed && screen !== undefined && screen !== null ? `→ ${milliseconds(screen)}` : null,
    element("i", { class: "badge", "data-who": who, "aria-label": `${who}’s view` }, who[0].toUpperCase()))));
}

/** The latest latencies as a line; its height is the slowest of them, at least 2 ms. */
function drawSpark() {
  const latest = feed.browser.slice(-60);
  if (latest.length < 2) return;
  const top = Math.max(2, ...latest);
  const points = latest.map((ms, place) => `${((place / (latest.length - 1)) * 120).toFixed(1)} ${(31 - (ms / top) * 28).toFixed(1)}`);
  find("#spark-line").setAttribute("d", `M${points.join("L")}`);
  find("#spark-area").setAttribute("d", `M0 32L${points.join("L")}L120 32Z`);
}

// ---- Toasts: what a person should be told, once, though both views may receive it ----

/** Shows a toast if the event deserves one; answers its title. */
function announce({ key, frame: { name, data } }, model, replayed) {
  switch (name) {
    case "system:announcement":
      if (data.expiresAt && Date.parse(data.expiresAt) < clock()) return null;
      return showToast(key, "Announcement", data.message, data.severity);
    case "notification:new": // one from a while ago would only startle
      return replayed ? null : showToast(key, "For you", data.message);
    case "waitlist:spot-available":
      return showToast(key, "A spot is free", `${model.slotName(data.slotId)}, ${model.labName(data.labId)}`, "success");
    case "lab:status-changed":
      return showToast(key, model.labName(data.labId), `${data.status}${data.reason ? `: ${data.reason}` : ""}`, data.status === "open" ? "success" : "warning");
    default:
      return null;
  }
}

function showToast(key, title, message, severity = "info") {
  const close = element("button", { "aria-label": "Dismiss" }, "×");
  const toast = element("div", { class: "toast", "data-severity": severity, "data-key": `toast:${key}` }, element("b", {}, title), close, element("p", {}, message ?? ""));
  close.addEventListener("click", () => leaveToast(toast));
  find("#toasts").append(toast);
  while (find("#toasts").children.length > LIMITS.toasts) find("#toasts").firstElementChild.remove();
  if (!calm.matches) toast.animate([{ opacity: 0, transform: "translateX(24px)" }, { opacity: 1, transform: "none" }], { duration: 260, easing: "ease-out" });
  // What is critical stays until it was read; the rest goes, but not from under somebody's pointer.
  if (severity === "critical") return title;
  const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : leaveToast(toast));
  setTimeout(leave, 7000);
  return title;
}

async function leaveToast(toast) {
  if (!calm.matches) await toast.animate([{ opacity: 1 }, { opacity: 0, transform: "translateX(24px)" }], { duration: 180 }).finished;
  toast.remove();
}

// ---- Statements: run by number, and what they changed on the screen ----

const KEYWORDS = "select|insert|into|update|delete|from|where|set|values|and|or|not|in|is|null|limit|order|by|desc|asc|returning|with|as|on|conflict|do|nothing|case|when|then|else|end|join|left|exists|interval|truncate|merge|using|generate_series|begin|commit|true|false|for|skip|locked|distinct|group|having|cross|lateral|call|offset|union|all";
const SQL_TOKEN = new RegExp(`('(?:[^']|'')*')|\\b(${KEYWORDS})\\b|\\b(\\d+(?:\\.\\d+)?)\\b`, "gi");

/** SQL with its words coloured, as nodes. */
function colourSql(sql) {
  const nodes = [];
  let end = 0;
  for (const match of sql.matchAll(SQL_TOKEN)) {
    nodes.push(sql.slice(end, match.index));
    const kind = match[1] ? "string" : match[2] ? "keyword" : "number";
    nodes.push(element("span", { class: kind }, match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, sql.slice(end)];
}

const statements = {
  views: {},
  run: null, // the latest: {started, ended, entries}

  draw(list) {
    find("#statements").replaceChildren(...list.map((statement) => {
      const button = element("button", { "data-run": statement.number, "aria-label": `Run: ${statement.title}` }, "Run");
      button.addEventListener("click", () => this.start(statement, button));
      return element("li", {}, element("div", {}, element("p", {}, statement.title),
        element("code", { title: statement.sql }, statement.sql.replace(/\s+/g, " "))), button);
    }));
  },

  async start(statement, button) {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true"); // not `disabled`: that would take the focus away
    find("#statements [data-last]")?.removeAttribute("data-last");
    button.closest("li").dataset.last = "";
    document.querySelectorAll(".touched").forEach((node) => node.classList.remove("touched"));
    const run = (this.run = { started: clock(), ended: null, early: [], events: new Set(), changes: new Map() });
    const result = element("span", { class: "result" }, "running …");
    const terminal = element("div", { class: "terminal", tabindex: 0, role: "group", "aria-label": "The statement and its result" }, ...colourSql(statement.sql.trim()), result);
    run.head = element("p", { class: "changed-head", hidden: true });
    run.list = element("div", { class: "changed-list" });
    find("#output").replaceChildren(terminal, run.head, run.list);
    try {
      const { rows, ms } = await fetchJson(`/demo/run/${statement.number}`, { method: "POST", headers: { "content-type": "application/json" } });
      result.replaceChildren(element("b", {}, plural(rows, "row")), ` in ${milliseconds(ms)}`);
    } catch (error) {
      result.dataset.failed = "";
      setText(result, error.message);
    }
    button.removeAttribute("aria-busy");
    run.ended = clock();
    for (const entry of run.early) this.attribute(run, entry);
    run.early.length = 0;
    if (result.dataset.failed === undefined) setTimeout(() => this.admitNothing(run), 1500);
  },

  admitNothing(run) {
    if (run !== this.run || run.events.size > 0) return;
    run.head.hidden = false;
    setText(run.head, "No event that these two views may see.");
  },

  /** An event belongs to a run if it was written between its start and its answer. The legacy
   *  writer may strike in the same milliseconds; that is rare, and then it is outlined as well. */
  consider(entry) {
    const { run } = this;
    if (!run || entry.instant < run.started - 1) return;
    if (run.ended === null) run.early.push(entry);
    else this.attribute(run, entry);
  },

  attribute(run, entry) {
    if (run !== this.run || entry.instant > run.ended + 1) return;
    run.events.add(entry.key);
    for (const change of entry.changes) run.changes.set(`${change.who} ${change.target}`, change);
    if (run.planned) return;
    run.planned = true;
    // After the frame that draws the rows themselves, so that there is something to outline.
    beforePaint(() => beforePaint(() => {
      run.planned = false;
      if (run === this.run) this.outline(run);
    }));
  },

  outline(run) {
    // Of 500 bookings the page shows the latest few: only what can be seen counts as changed.
    const changes = [...run.changes.values()].filter(({ who, target }) => this.views[who].nodes(target).length > 0);
    for (const { who, target } of changes) {
      for (const node of this.views[who].nodes(target)) {
        node.classList.add("touched");
        clearTimeout(node.ringEnds);
        node.ringEnds = setTimeout(() => node.classList.remove("touched"), 8000);
      }
    }
    run.head.hidden = false;
    const more = changes.length - LIMITS.changesListed;
    setText(run.head, `${plural(run.events.size, "event")} changed ${plural(changes.length, "place")} on this page${more > 0 ? `, the first ${LIMITS.changesListed}` : ""}`);
    run.list.replaceChildren(...changes.slice(0, LIMITS.changesListed).map(({ who, target, words }) => {
      const chip = element("button", { "data-target": target, title: "Show it" }, element("span", { class: "badge", "data-who": who }, who[0].toUpperCase()), words);
      chip.addEventListener("click", () => this.point(who, target));
      return chip;
    }));
  },

  point(who, target) {
    showView(who);
    const [node] = this.views[who].nodes(target);
    if (!node) return;
    node.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
    node.classList.add("touched", "spotlight");
    setTimeout(() => node.classList.remove("spotlight", "touched"), 2500);
  },
};

// ---- Start ----

/** On a phone one view is shown at a time; wider, this changes nothing one could see. */
function showView(who) {
  document.body.dataset.view = who;
  for (const tab of document.querySelectorAll(".switch [role=tab]")) {
    const selected = tab.dataset.show === who;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
}

/** Tabs as keyboards expect them: arrows move and select, Tab leaves the row of tabs. */
function makeTabs(list, choose) {
  const tabs = () => [...list.querySelectorAll("[role=tab]")];
  list.addEventListener("click", ({ target }) => {
    const tab = target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = tabs().indexOf(document.activeElement);
    if (!step || here < 0) return;
    event.preventDefault();
    const place = (here + step + tabs().length) % tabs().length;
    choose(tabs()[place]);
    tabs()[place].focus();
  });
}

async function start() {
  let state;
  try {
    state = JSON.parse(find("#state").textContent);
  } catch {
    state = await fetchJson("/demo/state");
  }
  statements.draw(state.statements);
  const user = new UserView(state);
  const admin = new AdminView(state);
  statements.views = { user, admin };
  makeTabs(find("#labs"), (tab) => user.select(Number(tab.dataset.lab)));
  makeTabs(find(".switch"), (tab) => showView(tab.dataset.show));
  const pauseButton = find("#pause");
  pauseButton.addEventListener("click", () => {
    feed.paused = !feed.paused;
    pauseButton.setAttribute("aria-pressed", String(feed.paused));
    setText(pauseButton, feed.paused ? "Resume" : "Pause");
  });
  user.connection.open();
  admin.connection.open();
}

start().catch((error) => {
  for (const who of ["user", "admin"]) setText(find(`[data-reason="${who}"]`), `This page could not start: ${error.message}`);
  throw error;
});
