// How a system's page is written. Its folder beside this one holds three files:
//
// views.html   a section for each view, left to right; its head is drawn by view.js:
//
//     <section class="card view" id="view-patient" data-title="Ada’s phone" data-letter="A" data-tone="1">
//       <div id="place"></div>
//     </section>
//
// story.css    what only this page needs; palette, cards, rows, pills and buttons are in page.css.
//
// story.js     a class for each view, and `begin`:
//
//     import { element, find, setText } from "/demo/dom.js";
//     import { socketio } from "/demo/socketio.js";      // or { rowcast } from "/demo/rowcast.js"
//     import { begin, Story } from "/demo/story.js";
//
//     class Patient extends Story {
//       // What this view knows of demo.state(), when the page is loaded and after a gap.
//       know({ patients }) {
//         return { me: patients.find((one) => one.id === 1) };
//       }
//       // The state after an event. `touch(key, words)` names what has changed: the node with
//       // data-key="KEY" flashes, and the words stand under the statement that did it.
//       reduce(state, { name, data }, touch) {
//         if (name !== "position_update") return state;
//         touch("place", `Place ${state.me.position} → ${data.position}`);
//         return { ...state, me: { ...state.me, position: data.position } };
//       }
//       draw() {
//         setText(find("#place"), this.state.me.position);
//       }
//       // Both may be left out: an event in words (else its payload is shown), and a toast.
//       describe({ name, data }) {}
//       toast({ name, data }) {}
//     }
//
//     begin((rendered) => ({
//       patient: new Patient("patient", socketio("patient", { since: rendered.bookmark }), rendered),
//     }));
//
// The server's half is NAME.sql: see the head of demo.sql.
//
// It must never send SQL, show one view what only another one received, or claim to be live when
// that isn't proven.

import { find, setText } from "./dom.js";
import { feed } from "./feed.js";
import { fetchState } from "./server.js";
import { statements } from "./statements.js";
import { drawSwitch, showSystem } from "./tabs.js";
import { View } from "./view.js";

/** A view whose state is an object of its own: known at first, then changed by events. */
export class Story extends View {
  state;
  #meanwhile; // events that came since the state is being read anew

  constructor(who, line, rendered) {
    super(who, line);
    this.state = this.know(rendered);
    line.on("gap", () => this.#readAnew());
    this.plan();
  }

  know(rendered) {
    return rendered;
  }

  reduce(state) {
    return state;
  }

  get isCaughtUp() {
    return this.#meanwhile === undefined;
  }

  changes(event) {
    const changes = [];
    this.#meanwhile?.push(event);
    this.state = this.reduce(this.state, event, (key, words) => changes.push([key, words]));
    return changes;
  }

  async #readAnew() {
    const meanwhile = (this.#meanwhile = []);
    const isLatest = () => meanwhile === this.#meanwhile; // else a later gap reads for this one, too
    this.showStatus();
    try {
      const known = this.know(await fetchState());
      if (!isLatest()) return;
      // What came meanwhile may be newer than the answer. What is older does no harm: the newer comes after it.
      this.state = meanwhile.reduce((state, event) => this.reduce(state, event, () => {}), known);
      this.#meanwhile = undefined;
      this.plan();
    } catch (error) {
      if (!isLatest()) return;
      this.say(`${error.message}: trying again`);
      setTimeout(() => isLatest() && this.#readAnew(), 2000);
    }
  }
}

/** Starts a page: `make` makes its views, by name, from what the server rendered. */
export function begin(make) {
  try {
    const rendered = JSON.parse(find("#state").textContent);
    statements.draw(rendered.statements);
    drawSwitch();
    showSystem();
    const views = Object.assign(statements.views, make(rendered));
    const pause = find("#pause");
    pause.addEventListener("click", () => {
      feed.paused = !feed.paused;
      pause.setAttribute("aria-pressed", String(feed.paused));
      setText(pause, feed.paused ? "Resume" : "Pause");
    });
    return views;
  } catch (error) {
    for (const reason of document.querySelectorAll("[data-reason]")) setText(reason, `This page could not start: ${error.message}`);
    throw error;
  }
}
