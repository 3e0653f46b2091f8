// The user's view: one lab's week, my bookings, my places in line.
// Hands over to the calendar. It must never show what only the admin may see.

import { drawCalendar, fillSlot } from "./calendar.js";
import { drawList, element, find, flash, roll, setText } from "./dom.js";
import { View } from "./view.js";

export class UserView extends View {
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
