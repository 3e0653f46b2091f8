// Elements, lists that move and moments to draw in: what every part of the page is drawn with.
// Knows nothing of any system. It must never write markup from text.

export const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const find = (selector, within = document) => within.querySelector(selector);

/** An element with attributes and children; text always as text, never as markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The badge of a view: its letter in its colour. */
export function badge(who) {
  const { letter, tone, title } = find(`#view-${who}`).dataset;
  return element("i", { class: "badge", "data-tone": tone, role: "img", "aria-label": title }, letter);
}

export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** Runs before the next paint, or soon where nothing is painted (a hidden tab gets no frames). */
export function beforePaint(work) {
  if (document.hidden) setTimeout(work, 50);
  else requestAnimationFrame(work);
}

/** Runs right after the paint that follows: a message is taken up only once the frame is done. */
export function afterPaint(work) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = work;
  port2.postMessage(null);
}

export function flash(node) {
  node.classList.remove("flash");
  void node.offsetWidth; // restarts the animation for the second change in a second
  node.classList.add("flash");
  clearTimeout(node.flashEnds);
  node.flashEnds = setTimeout(() => node.classList.remove("flash"), 1100);
}

/** Makes a list show `items` in their order; rows that stay glide to their new place, new ones fade
 *  in, rows that go fade out of the way. */
export function drawList(list, items, { key, make, fill }) {
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
export function roll(node, value) {
  const before = node.textContent;
  if (before === String(value)) return;
  node.textContent = value;
  if (calm.matches || before === "") return;
  const from = Number(value) < Number(before) ? 100 : -100;
  node.animate([{ transform: `translateY(${from}%)`, opacity: 0 }, { transform: "none", opacity: 1 }], { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)" });
}
