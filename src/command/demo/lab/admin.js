// The admin's view: every lab at a glance, and what everybody does.
// Hands over to the calendar. It must never keep other people's bookings: they pass by.

import { formatSecond } from "/demo/clock.js";
import { drawList, element, find, setText } from "/demo/dom.js";
import { showCalendar } from "./calendar.js";
import { LabView } from "./view.js";

const ACTIVITY_ROWS = 7; // as many as fit beside the labs

const ACTIVITY = {
  "booking:created": ["created", "+"],
  "booking:updated": ["updated", "~"],
  "booking:cancelled": ["cancelled", "−"],
  "payment:completed": ["payment", "¤"],
  "payment:failed": ["payment", "¤"],
  "payment:refunded": ["payment", "¤"],
};

export class AdminView extends LabView {
  activity = [];
  tally = { created: 0, updated: 0, cancelled: 0, payment: 0 };

  constructor(rendered) {
    super("admin", rendered);
    for (const { labId } of rendered.labs) this.model.openWeek(labId);
    this.#drawLabs();
  }

  /** The admin sees other people's bookings, of which the model keeps none: they pass by. */
  changes(event) {
    const entry = ACTIVITY[event.name];
    if (!entry) return super.changes(event);
    const [kind, mark] = entry;
    const key = `activity:${event.id}`;
    const words = this.describe(event);
    this.tally[kind] += 1;
    this.activity.unshift({ key, kind: event.data.status === "confirmed" ? "confirmed" : kind, mark, words, at: event.at });
    this.activity.length = Math.min(this.activity.length, ACTIVITY_ROWS);
    return [...super.changes(event), [key, words]];
  }

  #drawLabs() {
    find("#admin-labs").replaceChildren(...this.model.labs.map((lab) => element("section", { class: "lab", "data-lab": lab.labId },
      element("div", { class: "lab-head" }, element("i", { "aria-hidden": "true" }), element("b", {}, lab.name), element("span", { "data-fill": "" })),
      element("div", { "data-week": lab.labId }))));
  }

  draw(keys) {
    for (const lab of this.model.labs) {
      showCalendar(find(`[data-week="${lab.labId}"]`, this.root), this.model, lab.labId, { small: true, caption: `${lab.name}: spots left` });
      this.#drawHead(lab);
    }
    for (const [kind, count] of Object.entries(this.tally)) setText(find(`[data-tally="${kind}"]`), count);
    if (keys.some((key) => key.startsWith("activity:"))) this.#drawActivity();
  }

  #drawHead(lab) {
    const card = find(`[data-lab="${lab.labId}"]`, this.root);
    const left = this.model.slotsOf(lab.labId).reduce((sum, slot) => sum + Math.max(0, slot.availableSpots), 0);
    card.dataset.status = card.dataset.labStatus = find(".lab-head", card).dataset.status = lab.status;
    setText(find("[data-fill]", card), `${lab.status === "open" ? "" : `${lab.status} · `}${left} left`);
  }

  #drawActivity() {
    drawList(find("#activity"), this.activity, {
      key: (entry) => entry.key,
      make: ({ kind, mark, words, at }) => element("li", {},
        element("span", { class: "lead", "data-kind": kind, "aria-hidden": "true" }, mark),
        element("p", {}, words),
        element("time", { datetime: at }, formatSecond.format(new Date(at ?? Date.now())))),
    });
    find("#activity-empty").hidden = this.activity.length > 0;
  }
}
