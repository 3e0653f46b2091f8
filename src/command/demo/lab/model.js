// What one view knows: labs' weeks, the user's bookings and places in line. Each is a live state:
// loaded with the bookmark it is true at, then changed by every event from there on.
// Hands changes to the view as [key of what is drawn, words]. It must never touch the page.

import { formatDay, formatHour } from "/demo/clock.js";

const starts = (row) => row.startsAt ?? "9";
const change = (rows, name, id, fields) => rows.map((row) => (row[name] === id ? { ...row, ...fields } : row));

/** How many spots are left, in a word. */
export function level(slot) {
  if (slot.status === "closed") return "closed";
  if (slot.availableSpots <= 0) return "full";
  return slot.availableSpots <= Math.max(1, slot.capacity / 4) ? "few" : "plenty";
}

export class Model {
  #connection;
  #rendered;
  #changed;
  #notes = new WeakMap(); // event -> its changes
  #parts = new Map(); // name -> live state

  /** `rendered` is what the server printed into the page; `changed` is called after each change. */
  constructor(connection, rendered, changed) {
    this.#connection = connection;
    this.#rendered = rendered;
    this.#changed = changed;
    this.now = rendered.now;
    this.names = new Map(rendered.labs.map((lab) => [lab.labId, lab.name]));
    this.known = new Map(rendered.slots.map((slot) => [slot.slotId, slot])); // events name slots by id
  }

  /** Follows a lab's week. */
  openWeek(labId) {
    const { labs, slots } = this.#rendered;
    const rendered = { lab: labs.find((lab) => lab.labId === labId), slots: slots.filter((slot) => slot.labId === labId) };
    this.#follow(`lab:${labId}`, rendered, "lab_week", { lab: labId }, [`lab:${labId}`], (week, event) => this.#week(week, event));
  }

  /** What was known of it stays, but grows old. */
  closeWeek(labId) {
    this.#parts.get(`lab:${labId}`)?.close();
  }

  /** Follows what is the user's own; `room` is theirs. */
  openOwn(room) {
    this.#follow("bookings", this.#rendered.bookings, "user_bookings", {}, [room], (rows, event) => this.#bookings(rows, event));
    this.#follow("waitlist", this.#rendered.waitlist, "user_waitlists", {}, [room], (rows, event) => this.#waitlist(rows, event));
  }

  /** The server rendered the first state; any later one is asked for by a call. */
  #follow(name, rendered, call, args, rooms, reduce) {
    let first = this.#parts.has(name) ? undefined : { data: rendered, bookmark: this.#rendered.bookmark };
    const load = async () => {
      const answer = first ?? (await this.#connection.call(call, args));
      first = undefined;
      return answer;
    };
    const part = this.#connection.live(load, rooms, reduce);
    part.subscribe(() => this.#changed(part.status));
    this.#parts.set(name, part);
  }

  /** What an event has changed here. */
  changes(event) {
    return this.#notes.get(event) ?? [];
  }

  #note(event, ...changes) {
    this.#notes.set(event, [...this.changes(event), ...changes]);
  }

  get caughtUp() {
    return [...this.#parts.values()].every((part) => part.status !== "loading");
  }

  /** Whatever could not be loaded, or all of it, is loaded anew. */
  reload({ onlyFailed = false } = {}) {
    for (const part of this.#parts.values()) if (!onlyFailed || part.status === "failed") part.reload();
  }

  get labs() {
    return [...this.names.keys()].map((labId) => this.lab(labId));
  }

  lab(labId) {
    return this.#parts.get(`lab:${labId}`)?.state?.lab ?? this.#rendered.labs.find((lab) => lab.labId === labId);
  }

  slotsOf(labId) {
    return this.#parts.get(`lab:${labId}`)?.state?.slots ?? [];
  }

  slot(slotId) {
    return this.slotsOf(this.known.get(slotId)?.labId).find((slot) => slot.slotId === slotId) ?? this.known.get(slotId);
  }

  get bookings() {
    return [...(this.#parts.get("bookings")?.state ?? [])].sort((a, b) => this.#starts(a).localeCompare(this.#starts(b)) || a.bookingId - b.bookingId);
  }

  get waitlist() {
    return [...(this.#parts.get("waitlist")?.state ?? [])].sort((a, b) => a.position - b.position || a.waitlistId - b.waitlistId);
  }

  #starts(row) {
    return this.slot(row.slotId)?.startsAt ?? starts(row);
  }

  slotName(slotId) {
    const slot = this.slot(slotId);
    if (!slot) return `Slot ${slotId}`;
    const at = new Date(slot.startsAt);
    return `${formatDay.format(at)} ${formatHour.format(at)}`;
  }

  dayOfMonth(slotId) {
    const slot = this.slot(slotId);
    return slot ? new Date(slot.startsAt).getUTCDate() : "–";
  }

  labName(labId) {
    return this.names.get(labId) ?? `Lab ${labId}`;
  }

  /** What the user has to do with a slot: booked, waiting (with the place in line) or nothing. */
  mine(slotId) {
    if (this.bookings.some((row) => row.slotId === slotId && row.status !== "cancelled")) return { kind: "booked", words: "Yours" };
    const waiting = this.waitlist.find((row) => row.slotId === slotId);
    return waiting ? { kind: "waiting", words: `#${waiting.position}` } : null;
  }

  // ---- How events change what is known. Whole values come, so nothing is added up. ----

  #week(week, event) {
    const { name, data } = event;
    if (name === "lab:status-changed" && data.labId === week.lab.labId) {
      this.#note(event, [`lab:${data.labId}`, `${week.lab.name}: ${data.status}`]);
      return { ...week, lab: { ...week.lab, status: data.status, reason: data.reason } };
    }
    const slot = name === "time-slot:updated" && week.slots.find((each) => each.slotId === data.slotId);
    if (!slot) return week; // of another lab, another week, or of something else
    const words = slot.availableSpots === data.availableSpots ? data.status : `${slot.availableSpots} → ${data.availableSpots} left`;
    this.#note(event, [`slot:${data.slotId}`, `${this.slotName(data.slotId)} ${words}`]);
    return { ...week, slots: change(week.slots, "slotId", data.slotId, { status: data.status, availableSpots: data.availableSpots }) };
  }

  #bookings(rows, event) {
    const { name, data } = event;
    if (!name.startsWith("booking:") || String(data.userId ?? this.#connection.user) !== this.#connection.user) return rows;
    const known = rows.find((row) => row.bookingId === data.bookingId);
    if (name === "booking:created") {
      this.#note(event, [`booking:${data.bookingId}`, `Booking ${data.bookingId} is new`], [`slot:${data.slotId}`, null]);
      return known ? change(rows, "bookingId", data.bookingId, data) : [...rows, { ...data }];
    }
    if (!known) return rows;
    const status = name === "booking:cancelled" ? "cancelled" : data.status;
    this.#note(event, [`booking:${data.bookingId}`, `Booking ${data.bookingId} ${status}`], [`slot:${known.slotId}`, null]);
    return change(rows, "bookingId", data.bookingId, { status });
  }

  #waitlist(rows, event) {
    const { name, data } = event;
    // Nobody is told that a spot went to somebody else, but for the slot itself.
    if (name === "time-slot:updated" && data.status !== "open") return rows.map((row) => (row.slotId === data.slotId && row.isFree ? { ...row, isFree: false } : row));
    if (!name.startsWith("waitlist:") || String(data.userId) !== this.#connection.user) return rows;
    const key = `waitlist:${data.waitlistId}`;
    const others = rows.filter((row) => row.waitlistId !== data.waitlistId);
    const known = rows.find((row) => row.waitlistId === data.waitlistId) ?? { ...data, status: "waiting", position: 1 };
    if (name === "waitlist:spot-available") {
      this.#note(event, [key, `A spot on ${this.slotName(data.slotId)}`]);
      return [...others, { ...known, isFree: true }];
    }
    this.#note(event, [key, `In line ${data.oldPosition ?? "–"} → ${data.newPosition || "out"}`], [`slot:${data.slotId}`, null]);
    const isFree = known.isFree && data.newPosition <= known.position;
    return data.newPosition > 0 ? [...others, { ...known, position: data.newPosition, before: data.oldPosition, isFree }] : others;
  }
}
