// What one view knows: labs, slots, bookings and places in line, changed by what events say.
// Changes go back to the view as [key of what is drawn, words]. It must never ask the server.

import { formatDay, formatHour } from "./clock.js";

const byId = (rows, name) => new Map(rows.map((row) => [String(row[name]), { ...row }]));

export class Model {
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
