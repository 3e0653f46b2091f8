// Every event, who received it, and how long it took from the commit.
// Hands over to toasts and statements. It must never measure a replay: that says how long we were away.

import { clock, median, milliseconds, parseInstant, plausible } from "./clock.js";
import { afterPaint, beforePaint, element, find, setText } from "./dom.js";
import { statements } from "./statements.js";
import { announce } from "./toasts.js";

const ENTRIES_KEPT = 5000; // to join what both views received of one event: more than a replay holds
const ROWS = 60; // older ones leave the screen
const LATENCIES = 200; // what the medians run over

export const feed = {
  entries: new Map(), // id -> entry, so that both views' receipts of one event share a row
  fresh: [],
  browser: [],
  screen: [],
  count: 0,
  paused: false,
};

/** One event in words, from its payload alone; ids where the page knows no name. */
export function describe(name, data, model) {
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

export function showEvent(who, model, frame, replayed, changes) {
  const arrived = clock();
  const key = frame.id ?? `${who}-${frame.at}-${feed.count}`; // at-most-once channels have no ids
  let entry = feed.entries.get(key);
  if (!entry || entry.at !== frame.at || entry.arrivals[who]) {
    entry = { key, frame, at: frame.at, instant: frame.at ? parseInstant(frame.at) : arrived, arrivals: {}, changes: [], words: describe(frame.name, frame.data ?? {}, model) };
    feed.entries.set(key, entry);
    feed.count += 1;
    if (feed.entries.size > ENTRIES_KEPT) feed.entries.delete(feed.entries.keys().next().value);
    const told = announce(entry, model, replayed);
    if (told) entry.changes.push({ who, target: `toast:${key}`, words: `Toast: ${told}` });
  }
  entry.arrivals[who] = { replayed, arrived, took: replayed || !frame.at ? null : plausible(arrived - entry.instant) };
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
    for (const entry of new Set(fresh.slice(-2 * ROWS).map(([each]) => each))) drawFeedRow(list, entry);
    while (list.children.length > ROWS) list.lastElementChild.remove();
    find("#feed-empty").hidden = true;
  }
  setText(find("#event-count"), feed.count.toLocaleString("en"));
  afterPaint(() => {
    const painted = clock();
    for (const [entry, who] of fresh) measure(entry, who, painted);
    feed.browser.splice(0, feed.browser.length - LATENCIES);
    feed.screen.splice(0, feed.screen.length - LATENCIES);
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
