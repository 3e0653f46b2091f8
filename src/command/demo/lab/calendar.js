// A lab's week as a table, large for the user and small for the admin.
// Hands over nodes. It must never change what the model knows.

import { formatDate, formatDay, formatHour } from "/demo/clock.js";
import { element, find, setText } from "/demo/dom.js";
import { level } from "./model.js";

/** Shows a lab's week in `place`: drawn anew if its slots are others than before, else filled. */
export function showCalendar(place, model, labId, how) {
  const slots = model.slotsOf(labId);
  const key = slots.map((slot) => slot.slotId).join();
  if (place.dataset.slots === key) {
    for (const slot of slots) fillSlot(find(`[data-slot="${slot.slotId}"]`, place), model, slot, !how.small);
  } else {
    place.replaceChildren(drawCalendar(model, slots, how));
    place.dataset.slots = key;
  }
}

/** One row an hour, one column a day, in each cell the slots that start then. */
function drawCalendar(model, slots, { small, caption }) {
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
  return element("table", { class: small ? "calendar small" : "calendar", "aria-label": caption },
    element("thead", {}, element("tr", {}, element("td"), ...head)), element("tbody", {}, ...body));
}

function drawSlot(model, slot, small) {
  const node = element("div", { class: small ? "slot tiny" : "slot", "data-slot": slot.slotId, "data-past": slot.endsAt < model.now },
    element("div", { class: "spots" }, element("b", { "data-spots": "" }), element("span", { class: "of" })),
    element("div", { class: "bar" }, element("i")), element("span", { class: "mark-mine", hidden: true }));
  fillSlot(node, model, slot, !small);
  return node;
}

function fillSlot(node, model, slot, showMine) {
  const left = level(slot);
  const spots = find("[data-spots]", node);
  setText(spots, slot.availableSpots);
  spots.dataset.spots = slot.availableSpots;
  // Not of how many: no event says that the capacity is another.
  setText(find(".of", node), left === "full" || left === "closed" ? left : "left");
  node.dataset.level = left;
  node.dataset.status = slot.status;
  node.title = `${model.slotName(slot.slotId)}: ${slot.availableSpots} left`;
  node.style.setProperty("--share", Math.max(0, Math.min(1, slot.availableSpots / slot.capacity)));
  const mine = showMine ? model.mine(slot.slotId) : null;
  const mark = find(".mark-mine", node);
  mark.hidden = !mine;
  setText(mark, mine?.words ?? "");
  if (mine) node.dataset.mine = mine.kind;
  else delete node.dataset.mine;
}
