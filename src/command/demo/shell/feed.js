// Every event, who received it, and how long it took from the commit.
// Hands over to toasts and statements. It must never measure a replay: that says how long we were away.

import { clock, median, milliseconds, parseInstant, plausible } from "./clock.js";
import { afterPaint, badge, beforePaint, element, find, setText } from "./dom.js";
import { statements } from "./statements.js";
import { showToast } from "./toasts.js";

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

/** `view` received an event, and changed what `changes` say: [key, words] for each place. */
export function showEvent(view, event, replayed, changes) {
  const { who } = view;
  const arrived = clock();
  const key = event.id ?? `${who}-${event.at}-${feed.count}`; // at-most-once channels have no ids
  let entry = feed.entries.get(key);
  if (!entry || entry.event.name !== event.name || entry.arrivals[who]) {
    entry = { key, event, instant: event.at ? parseInstant(event.at) : arrived, arrivals: {}, changes: [] };
    feed.entries.set(key, entry);
    feed.count += 1;
    if (feed.entries.size > ENTRIES_KEPT) feed.entries.delete(feed.entries.keys().next().value);
  }
  entry.words ??= view.describe(event);
  const toast = entry.isTold ? null : view.toast(event, replayed);
  if (toast) {
    entry.isTold = true;
    entry.changes.push({ who, target: `toast:${key}`, words: `Toast: ${showToast(key, toast)}` });
  }
  entry.arrivals[who] = { replayed, arrived, took: replayed || !event.at ? null : plausible(arrived - entry.instant) };
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
  const { name, data, id, channel } = entry.event;
  if (!entry.row) {
    const payload = JSON.stringify(data);
    entry.row = element("li", { "data-name": name, "data-id": id, "data-channel": channel },
      element("details", {},
        element("summary", {},
          element("span", { class: "name", "data-family": name.split(/[:_-]/)[0].toLowerCase() }, name),
          element("span", { class: entry.words ? "what" : "what raw" }, entry.words ?? payload),
          element("span", { class: "times" })),
        element("pre", {}, JSON.stringify(data, null, 2))));
    list.prepend(entry.row);
  }
  entry.row.dataset.views = Object.keys(entry.arrivals).join(" ");
  fillTimes(entry);
}

function fillTimes(entry) {
  find(".times", entry.row).replaceChildren(...Object.entries(entry.arrivals).map(([who, { replayed, took, screen }]) => element("span",
    { "data-view": who, title: "Commit → browser → screen" },
    replayed ? "replayed" : element("b", {}, milliseconds(took)),
    !replayed && screen !== undefined && screen !== null ? `→ ${milliseconds(screen)}` : null,
    badge(who))));
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
