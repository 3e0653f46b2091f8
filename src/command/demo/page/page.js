// The demo page: two connections with two tokens, each feeding a view of its own, so that one sees
// what a user may see and what an admin may see. It starts from the data and the bookmark that the
// server printed into the page, and changes only what an event says has changed.
// It must never send SQL, show one view what only the other one received, or claim to be live when
// that isn't proven.

import { AdminView } from "./admin.js";
import { find, setText } from "./dom.js";
import { feed } from "./feed.js";
import { statements } from "./statements.js";
import { makeTabs, showView } from "./tabs.js";
import { UserView } from "./user.js";

function start() {
  const rendered = JSON.parse(find("#state").textContent);
  statements.draw(rendered.statements);
  const user = new UserView(rendered);
  const admin = new AdminView(rendered);
  statements.views = { user, admin };
  makeTabs(find("#labs"), (tab) => user.select(Number(tab.dataset.lab)));
  makeTabs(find(".switch"), (tab) => showView(tab.dataset.show));
  const pauseButton = find("#pause");
  pauseButton.addEventListener("click", () => {
    feed.paused = !feed.paused;
    pauseButton.setAttribute("aria-pressed", String(feed.paused));
    setText(pauseButton, feed.paused ? "Resume" : "Pause");
  });
}

try {
  start();
} catch (error) {
  for (const who of ["user", "admin"]) setText(find(`[data-reason="${who}"]`), `This page could not start: ${error.message}`);
  throw error;
}
