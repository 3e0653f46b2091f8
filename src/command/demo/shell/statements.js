// Statements that the old application would run, and what each changed on the screen.
// It must never send SQL: statements are run by number.

import { clock, milliseconds, plural } from "./clock.js";
import { badge, beforePaint, calm, element, find, setText } from "./dom.js";
import { runStatement } from "./server.js";
import { showView } from "./tabs.js";

const CHANGES_LISTED = 14; // of one statement; the rest is a number

const KEYWORDS = "select|insert|into|update|delete|from|where|set|values|and|or|not|in|is|null|limit|order|by|desc|asc|returning|with|as|on|conflict|do|nothing|case|when|then|else|end|join|left|exists|interval|truncate|merge|using|generate_series|begin|commit|true|false|for|skip|locked|distinct|group|having|cross|lateral|call|offset|union|all";
const SQL_TOKEN = new RegExp(`('(?:[^']|'')*')|\\b(${KEYWORDS})\\b|\\b(\\d+(?:\\.\\d+)?)\\b`, "gi");

/** SQL with its words coloured, as nodes. */
function colourSql(sql) {
  const nodes = [];
  let end = 0;
  for (const match of sql.matchAll(SQL_TOKEN)) {
    nodes.push(sql.slice(end, match.index));
    const kind = match[1] ? "string" : match[2] ? "keyword" : "number";
    nodes.push(element("span", { class: kind }, match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, sql.slice(end)];
}

export const statements = {
  views: {},
  run: null, // the latest: {started, ended, entries}

  draw(list) {
    find("#statements").replaceChildren(...list.map((statement) => {
      const button = element("button", { "data-run": statement.number, "aria-label": `Run: ${statement.title}` }, "Run");
      button.addEventListener("click", () => this.start(statement, button));
      return element("li", {}, element("div", {}, element("p", {}, statement.title),
        element("code", { title: statement.sql }, statement.sql.replace(/\s+/g, " "))), button);
    }));
  },

  async start(statement, button) {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true"); // not `disabled`: that would take the focus away
    find("#statements [data-last]")?.removeAttribute("data-last");
    button.closest("li").dataset.last = "";
    document.querySelectorAll(".touched").forEach((node) => node.classList.remove("touched"));
    const run = (this.run = { started: clock(), ended: null, early: [], events: new Set(), changes: new Map() });
    const result = element("span", { class: "result" }, "running …");
    const terminal = element("div", { class: "terminal" },
      element("pre", { tabindex: 0, role: "group", "aria-label": "The statement" }, ...colourSql(statement.sql.trim())), result);
    run.head = element("p", { class: "changed-head", hidden: true });
    run.list = element("div", { class: "changed-list" });
    find("#output").replaceChildren(terminal, run.head, run.list);
    try {
      const { rows, ms, refused } = await runStatement(statement.number);
      if (refused) throw new Error(refused);
      result.replaceChildren(element("b", {}, plural(rows, "row")), ` in ${milliseconds(ms)}`);
    } catch (error) {
      result.dataset.failed = "";
      setText(result, error.message);
    }
    button.removeAttribute("aria-busy");
    run.ended = clock();
    for (const entry of run.early) this.attribute(run, entry);
    run.early.length = 0;
    if (result.dataset.failed === undefined) setTimeout(() => this.admitNothing(run), 1500);
  },

  admitNothing(run) {
    if (run !== this.run || run.events.size > 0) return;
    run.head.hidden = false;
    setText(run.head, "No event that these views may see.");
  },

  /** An event belongs to a run if it was written between its start and its answer. The legacy
   *  writer may strike in the same milliseconds; that is rare, and then it is outlined as well. */
  consider(entry) {
    const { run } = this;
    if (!run || entry.instant < run.started - 1) return;
    if (run.ended === null) run.early.push(entry);
    else this.attribute(run, entry);
  },

  attribute(run, entry) {
    if (run !== this.run || entry.instant > run.ended + 1) return;
    run.events.add(entry.key);
    for (const change of entry.changes) run.changes.set(`${change.who} ${change.target}`, change);
    if (run.planned) return;
    run.planned = true;
    // After the frame that draws the rows themselves, so that there is something to outline.
    beforePaint(() => beforePaint(() => {
      run.planned = false;
      if (run === this.run) this.outline(run);
    }));
  },

  outline(run) {
    // Of 500 bookings the page shows the latest few: only what can be seen counts as changed.
    const changes = [...run.changes.values()].filter(({ who, target }) => this.views[who].nodes(target).length > 0);
    for (const { who, target } of changes) {
      for (const node of this.views[who].nodes(target)) {
        node.classList.add("touched");
        clearTimeout(node.ringEnds);
        node.ringEnds = setTimeout(() => node.classList.remove("touched"), 8000);
      }
    }
    run.head.hidden = false;
    const more = changes.length - CHANGES_LISTED;
    setText(run.head, `${plural(run.events.size, "event")} changed ${plural(changes.length, "place")} on this page${more > 0 ? `, the first ${CHANGES_LISTED}` : ""}`);
    run.list.replaceChildren(...changes.slice(0, CHANGES_LISTED).map(({ who, target, words }) => {
      const chip = element("button", { "data-target": target, title: "Show it" }, badge(who), words);
      chip.addEventListener("click", () => this.point(who, target));
      return chip;
    }));
  },

  point(who, target) {
    showView(who);
    const [node] = this.views[who].nodes(target);
    if (!node) return;
    node.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
    node.classList.add("touched", "spotlight");
    setTimeout(() => node.classList.remove("spotlight", "touched"), 2500);
  },
};
