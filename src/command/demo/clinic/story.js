// The clinic's page: a patient's phone and the board of the staff, each by socket.io-client and with
// a session cookie of its own, as the front end they have had.
// It must never show the phone anything of anybody else in the line.
//
// Of clinic.sql's demo.state() it needs, besides bookmark and statements: me {patientId, name}, the
// patient's; staff {staffId}; visit, as the call my_visit answers; line {waiting, estimatedWait}, as
// in queue_update; and queue, as in queue_refresh. Its views sign in as `patient` and `staff`.

import { formatSecond, plural } from "/demo/clock.js";
import { drawList, element, find, roll, setText } from "/demo/dom.js";
import { socketio } from "/demo/socketio.js";
import { begin, Story } from "/demo/story.js";

const MESSAGES = 6; // the latest
const ALERTS = 2;
const STEPS = 24; // dots of the line; a longer line has no more

const latest = (list, one, most) => [one, ...list].slice(0, most);

class Patient extends Story {
  #asked = 0;

  constructor(who, line, rendered) {
    super(who, line, rendered);
    line.on("status", ({ status }) => status === "live" && this.#askForVisit());
  }

  /** No event says that a visit is over: whoever has one asks when the line has changed. */
  async #askForVisit() {
    const number = ++this.#asked;
    const visit = this.state.visit && (await this.line.ask("get-my-visit").catch(() => undefined));
    // What is told meanwhile has a question of its own.
    if (number !== this.#asked || visit === undefined || visit?.ok === false) return;
    this.state = { ...this.state, visit };
    this.plan();
  }

  know({ me, visit, line }) {
    return { me, visit, line, messages: this.state?.messages ?? [] };
  }

  reduce(state, { name, data, id }, touch) {
    const { visit } = state;
    const say = (kind, mark) => latest(state.messages, { key: `message:${id}`, kind, mark, text: data.message, at: data.timestamp }, MESSAGES);
    switch (name) {
      case "position_update":
        touch("me", visit?.position && visit.position !== data.position ? `Place ${visit.position} → ${data.position}` : `Place ${data.position}, ${data.estimatedWait} min.`);
        return { ...state, visit: { status: "waiting", position: data.position, estimatedWait: data.estimatedWait } };
      case "get_ready":
        touch(`message:${id}`, "Get ready");
        return { ...state, messages: say("ready", "!") };
      case "patient_called":
        touch("me", `Called${data.room ? ` to ${data.room}` : ""}`);
        touch(`message:${id}`, null);
        return { ...state, visit: { status: "called", room: data.room }, messages: say("called", "→") };
      case "system_announcement":
        touch(`message:${id}`, data.message);
        return { ...state, messages: say("news", "i") };
      case "queue_update":
        touch("line", `${data.waiting} waiting`);
        this.#askForVisit();
        return { ...state, line: data };
      default:
        return state;
    }
  }

  draw() {
    const { me, visit, line, messages } = this.state;
    const called = visit?.status === "called";
    find(".phone").dataset.status = visit?.status ?? "none";
    setText(find("#greeting"), visit ? `Good to see you, ${me.name}` : `${me.name} is not checked in`);
    if (called) setText(find("#place"), visit.room ?? "Now");
    else roll(find("#place"), visit?.position ?? "–");
    setText(find("#place-words"), called ? "it is your turn" : visit ? "your place in line" : "no place in line");
    setText(find("#wait"), called ? "Please come in" : visit ? `about ${plural(visit.estimatedWait, "minute")}` : "");
    const steps = called || !visit ? 0 : Math.min(visit.position, STEPS);
    find("#steps").replaceChildren(...Array.from({ length: steps }, (_, place) => element("li", { "data-me": place === steps - 1, "data-near": place < 3 && place !== steps - 1 })));
    setText(find("#waiting"), line.waiting);
    setText(find("#waiting-words"), `waiting in all; ${plural(line.estimatedWait, "minute")} for whoever comes now`);
    drawList(find("#messages"), messages, {
      key: (message) => message.key,
      make: ({ kind, mark, text, at }) => element("li", {}, element("span", { class: "lead", "data-kind": kind, "aria-hidden": "true" }, mark),
        element("p", {}, text), element("time", { datetime: at }, formatSecond.format(new Date(at)))),
    });
    find("#messages-empty").hidden = messages.length > 0;
  }

  describe({ name, data }) {
    return words(name, data);
  }

  toast({ name, data }, replayed) {
    if (name === "patient_called") return { title: "It is your turn", message: data.room ?? data.message, severity: "success" };
    if (name === "get_ready" && !replayed) return { title: "Get ready", message: data.message, severity: "warning" };
    return null;
  }
}

class Staff extends Story {
  know({ me, queue, line }) {
    return { me, queue, line, alerts: this.state?.alerts ?? [] };
  }

  reduce(state, { name, data, id }, touch) {
    switch (name) {
      case "queue_refresh": {
        const before = new Map(state.queue.map((one) => [one.id, one]));
        for (const one of data.data) {
          const old = before.get(one.id);
          if (!old) touch(`visit:${one.id}`, `${one.name} is in the queue`);
          else if (old.status !== one.status) touch(`visit:${one.id}`, `${one.name}: ${one.status}`);
          else if (old.position !== one.position) touch(`visit:${one.id}`, `${one.name}: ${old.position} → ${one.position}`);
        }
        return { ...state, queue: data.data };
      }
      case "queue_update":
        return { ...state, line: data };
      case "system_alert":
        touch(`alert:${id}`, data.message);
        return { ...state, alerts: latest(state.alerts, { ...data, key: `alert:${id}` }, ALERTS) };
      default:
        return state;
    }
  }

  draw() {
    const { me, queue, line, alerts } = this.state;
    setText(find("#count-waiting"), queue.filter((one) => one.status === "waiting").length);
    setText(find("#count-called"), queue.filter((one) => one.status === "called").length);
    setText(find("#count-wait"), line.estimatedWait);
    find("#alerts").replaceChildren(...alerts.map(({ key, message, severity }) => element("p", { class: "notice", "data-key": key, "data-status": severity === "critical" ? "closed" : severity }, message)));
    drawList(find("#queue"), queue, {
      key: (one) => `visit:${one.id}`,
      make: () => element("li", {}, element("span", { class: "lead" }), element("p"), element("span", { class: "status" })),
      fill(row, one) {
        const [lead, text, status] = row.children;
        row.dataset.status = one.status;
        row.toggleAttribute("data-me", one.patientId === me.patientId);
        setText(lead, one.position ?? "→");
        text.replaceChildren(one.name, element("small", {}, one.status === "called" ? `called to ${one.room ?? "the desk"}` : `about ${one.estimatedWait} min.`));
        setText(status, one.status);
      },
    });
    find("#queue-empty").hidden = queue.length > 0;
  }

  describe({ name, data }) {
    return words(name, data);
  }

  toast({ name, data }, replayed) {
    if (name === "new_patient" && !replayed) return { title: "New patient", message: data.patient.name };
    if (name === "system_alert") return { title: "Alert", message: data.message, severity: data.severity };
    return null;
  }
}

function words(name, data) {
  switch (name) {
    case "position_update": return `place ${data.position}, about ${data.estimatedWait} min.`;
    case "queue_update": return `${data.waiting} waiting, ${data.estimatedWait} min. for the next`;
    case "queue_refresh": return `the complete queue: ${plural(data.data.length, "patient")}`;
    case "new_patient": return `${data.patient.name}, place ${data.patient.position ?? "–"}`;
    default: return data.message;
  }
}

begin((rendered) => ({
  patient: new Patient("patient", socketio("patient", { since: rendered.bookmark, joins: [["join-patient-room", rendered.me.patientId], ["join-patients-room"]] }), rendered),
  staff: new Staff("staff", socketio("staff", { since: rendered.bookmark, joins: [["join-staff-room", rendered.staff.staffId]] }), rendered),
}));
