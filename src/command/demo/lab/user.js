// The user's view: one lab's week, my bookings, my places in line.
// Hands over to the calendar. It must never show what only the admin may see.

import { drawList, element, find, roll, setText } from "/demo/dom.js";
import { showCalendar } from "./calendar.js";
import { LabView } from "./view.js";

const CANCELLED_SHOWN = 6000; // ms: a cancelled booking is seen to be cancelled before it goes

export class UserView extends LabView {
  #leaving = new Map(); // bookingId of a cancelled one -> whether its time is over

  constructor(rendered) {
    super("user", rendered);
    this.lab = rendered.labs[0].labId;
    this.model.openOwn("user:1");
    this.model.openWeek(this.lab);
    this.#drawTabs();
  }

  select(lab) {
    if (lab === this.lab) return;
    const before = this.lab;
    this.lab = lab;
    this.model.openWeek(lab);
    this.model.closeWeek(before);
    this.#drawTabs();
    this.plan();
  }

  #drawTabs() {
    const focused = find("#labs").contains(document.activeElement);
    find("#labs").replaceChildren(...this.model.labs.map((lab) => element("button", {
      role: "tab", id: `tab-${lab.labId}`, "data-lab": lab.labId, "data-status": lab.status,
      "aria-controls": "lab-panel", "aria-selected": String(lab.labId === this.lab), tabindex: lab.labId === this.lab ? 0 : -1,
    }, element("i", { "aria-hidden": "true" }), lab.name)));
    if (focused) find(`#tab-${this.lab}`).focus();
    find("#lab-panel").setAttribute("aria-labelledby", `tab-${this.lab}`);
  }

  draw() {
    showCalendar(find("#calendar"), this.model, this.lab, { caption: `${this.model.labName(this.lab)}: spots left this week` });
    this.#drawLab();
    this.#drawBookings();
    this.#drawWaitlist();
  }

  #drawLab() {
    for (const lab of this.model.labs) find(`#tab-${lab.labId}`).dataset.status = lab.status;
    const lab = this.model.lab(this.lab);
    find("#calendar").dataset.labStatus = lab.status;
    const notice = find("#lab-notice");
    notice.hidden = lab.status === "open";
    notice.dataset.status = lab.status;
    const words = lab.status === "maintenance" ? "is under maintenance" : `is ${lab.status}`;
    setText(notice, `${lab.name} ${words}${lab.reason ? `: ${lab.reason}` : ""}`);
  }

  #drawBookings() {
    const bookings = this.model.bookings.filter((booking) => this.#isShown(booking));
    drawList(find("#bookings"), bookings, {
      key: (booking) => `booking:${booking.bookingId}`,
      make: () => element("li", {}, element("span", { class: "lead" }), element("p"), element("span", { class: "status" })),
      fill: (row, booking) => {
        const [lead, words, status] = row.children;
        setText(lead, this.model.dayOfMonth(booking.slotId));
        words.replaceChildren(this.model.slotName(booking.slotId), element("small", {}, `#${booking.bookingId} · ${this.model.labName(booking.labId)}`));
        setText(status, booking.status);
        status.dataset.status = booking.status;
      },
    });
    const alive = bookings.filter((booking) => booking.status !== "cancelled").length;
    setText(find("#booking-count"), alive);
    find("#bookings-empty").hidden = bookings.length > 0;
  }

  #isShown({ bookingId, status }) {
    if (status !== "cancelled") {
      this.#leaving.delete(bookingId);
      return true;
    }
    if (!this.#leaving.has(bookingId)) {
      this.#leaving.set(bookingId, false);
      setTimeout(() => {
        if (this.#leaving.has(bookingId)) this.#leaving.set(bookingId, true);
        this.plan();
      }, CANCELLED_SHOWN);
    }
    return !this.#leaving.get(bookingId);
  }

  #drawWaitlist() {
    const places = this.model.waitlist;
    drawList(find("#waitlist"), places, {
      key: (waiting) => `waitlist:${waiting.waitlistId}`,
      make: () => element("li", {}, element("span", { class: "lead" }, element("b", { "data-position": "" })), element("p")),
      fill: (row, waiting) => {
        const offered = waiting.status !== "waiting" || waiting.isFree;
        row.dataset.status = offered ? "offered" : "waiting";
        roll(find("[data-position]", row), waiting.position);
        const line = offered ? "A spot is free: yours to take" : waiting.before ? `was ${waiting.before}, moved ${waiting.before > waiting.position ? "up" : "down"}` : "waiting";
        find("p", row).replaceChildren(this.model.slotName(waiting.slotId), element("small", {}, `${this.model.labName(waiting.labId ?? this.model.slot(waiting.slotId)?.labId)} · ${line}`));
      },
    });
    setText(find("#waitlist-count"), places.length);
    find("#waitlist-empty").hidden = places.length > 0;
  }
}
