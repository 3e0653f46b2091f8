// The laboratories' page: two connections with two tokens, each feeding a view of its own, so that
// one sees what a user may see and what an admin may see. It starts from the data and the bookmark
// that the server printed into the page, and changes only what an event says has changed.

import { find } from "/demo/dom.js";
import { begin } from "/demo/story.js";
import { makeTabs } from "/demo/tabs.js";
import { AdminView } from "./admin.js";
import { UserView } from "./user.js";

const { user } = begin((rendered) => ({ user: new UserView(rendered), admin: new AdminView(rendered) }));
makeTabs(find("#labs"), (tab) => user.select(Number(tab.dataset.lab)));
