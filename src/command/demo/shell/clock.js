// Instants with microseconds, and how numbers and times are written here.
// Hands numbers to the feed. It must never show a delay between clocks that disagree.

// ---- Clock: `at` is the database's clock, which in the demo is this machine's as well ----

let clockBase = performance.timeOrigin;

/** Milliseconds since 1970 with fractions. performance.now() doesn't follow when the system's
 *  clock is set or slewed, so the base is taken anew as soon as it disagrees with Date. */
export function clock() {
  const fine = clockBase + performance.now();
  const drift = Date.now() - fine;
  if (drift > 1 || drift < -2) {
    clockBase += drift;
    return fine + drift;
  }
  return fine;
}

/** Date.parse keeps milliseconds; at this speed the microseconds matter. */
export function parseInstant(text) {
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? "";
  return Date.parse(text) + Number(micros.padEnd(3, "0") || 0) / 1000;
}

/** Between other machines the clocks differ, and then a number would be a lie: null. */
export const plausible = (ms) => (ms > -3 && ms < 60_000 ? Math.max(ms, 0) : null);

export function median(numbers) {
  if (numbers.length === 0) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

export const milliseconds = (ms) => (ms === null ? "–" : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
const zone = { timeZone: "UTC" }; // a lab's calendar shows the lab's hours, wherever one reads it
export const formatDay = new Intl.DateTimeFormat("en-GB", { weekday: "short", ...zone });
export const formatDate = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", ...zone });
export const formatHour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", ...zone });
export const formatSecond = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
