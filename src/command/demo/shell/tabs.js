// Tabs: of a system's own, and of the views on a phone.
// Hands the choice back. It must never take the keyboard's focus from where it was.

import { element, find } from "./dom.js";

/** Where the row of systems is wider than a phone, the present one is in sight. */
export function showSystem() {
  find(".systems [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
}

/** One tab for each view; the first is shown. */
export function drawSwitch() {
  const views = [...document.querySelectorAll(".view")];
  const row = find("#switch");
  row.replaceChildren(...views.map(({ id, dataset }) => element("button", { role: "tab", "aria-controls": id, "data-show": id.slice("view-".length), "data-tone": dataset.tone }, dataset.title)));
  row.hidden = views.length < 2;
  makeTabs(row, (tab) => showView(tab.dataset.show));
  showView(row.firstElementChild.dataset.show);
}

/** On a phone one view is shown at a time; wider, this changes nothing one could see. */
export function showView(who) {
  for (const view of document.querySelectorAll(".view")) view.toggleAttribute("data-shown", view.id === `view-${who}`);
  for (const tab of document.querySelectorAll("#switch [role=tab]")) {
    const selected = tab.dataset.show === who;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
}

/** Tabs as keyboards expect them: arrows move and select, Tab leaves the row of tabs. */
export function makeTabs(list, choose) {
  const tabs = () => [...list.querySelectorAll("[role=tab]")];
  list.addEventListener("click", ({ target }) => {
    const tab = target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = tabs().indexOf(document.activeElement);
    if (!step || here < 0) return;
    event.preventDefault();
    const place = (here + step + tabs().length) % tabs().length;
    choose(tabs()[place]);
    tabs()[place].focus();
  });
}
