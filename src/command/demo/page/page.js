// The demo page: two connections with two tokens, each feeding a view of its own, so that one sees
// what a user may see and what an admin may see. It starts from the data and the bookmark that the
// server printed into the page, and changes only what an event says has changed.
// It must never send SQL, show one view what only the other one received, or claim to be live when
// that isn't proven.

import { AdminView } from "./admin.js";
import { find, setText } from "./dom.js";
import { feed } from "./feed.js";
import { statements } from "./statements.js";
import { UserView } from "./user.js";

/** On a phone one view is shown at a time; wider, this changes nothing one could see. */
function showView(who) {
  document.body.dataset.view = who;
  for (const tab of document.querySelectorAll(".switch [role=tab]")) {
    const selected = tab.dataset.show === who;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
}

/** Tabs as keyboards expect them: arrows move and select, Tab leaves the row of tabs. */
function makeTabs(list, choose) {
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

async function start() {
  let state;
  try {
    state = JSON.parse(find("#state").textContent);
  } catch {
    state = await fetchJson("/demo/state");
  }
  statements.draw(state.statements);
  const user = new UserView(state);
  const admin = new AdminView(state);
  statements.views = { user, admin };
  makeTabs(find("#labs"), (tab) => user.select(Number(tab.dataset.lab)));
  makeTabs(find(".switch"), (tab) => showView(tab.dataset.show));
  const pauseButton = find("#pause");
  pauseButton.addEventListener("click", () => {
    feed.paused = !feed.paused;
    pauseButton.setAttribute("aria-pressed", String(feed.paused));
    setText(pauseButton, feed.paused ? "Resume" : "Pause");
  });
  user.connection.open();
  admin.connection.open();
}

start().catch((error) => {
  for (const who of ["user", "admin"]) setText(find(`[data-reason="${who}"]`), `This page could not start: ${error.message}`);
  throw error;
});
