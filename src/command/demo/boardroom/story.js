// The boardrooms' page: the calendar in room `bookings`, and the sign at one door in a room of its
// own, each by socket.io-client and with a session cookie of its own. A booking that moves away
// tells the door that it left as well.
//
// Of boardroom.sql's demo.state() it needs, besides bookmark and statements: day, the date on show;
// boardrooms [{_id, name, location, capacity}]; bookings of that day, each as in booking-created; and
// door, the id of the room whose sign is shown. Its views sign in as `calendar` and `door`.

import { plural } from "/demo/clock.js";
import { drawList, element, find, setText } from "/demo/dom.js";
import { socketio } from "/demo/socketio.js";
import { begin, Story } from "/demo/story.js";

const FIRST_HOUR = 8; // of the day on show, in UTC; the last is 19
const HOURS = 11;
const GONE_SHOWN = 5000; // ms: what is cancelled is seen to be cancelled before it goes

const clock = (time) => time.slice(11, 16);
const halfHours = (time) => (new Date(time).getUTCHours() - FIRST_HOUR) * 2 + new Date(time).getUTCMinutes() / 30;
const inOrder = (a, b) => a.startTime.localeCompare(b.startTime);
const names = (people) => people.map(({ name }) => name.split(" ")[0]).join(", ");

class Rooms extends Story {
  know({ day, boardrooms, door, bookings }) {
    return { day, boardrooms, door, bookings: bookings.filter((one) => this.shows(one, door)) };
  }

  shows() {
    return true;
  }

  reduce(state, { name, data }, touch) {
    const { booking, changes } = data;
    if (!booking) return state;
    const key = `meeting:${booking._id}`;
    const known = state.bookings.find((one) => one._id === booking._id);
    const others = state.bookings.filter((one) => one !== known);
    // What was cancelled may still be changed, and is told as updated.
    const isGone = name === "booking-cancelled" || name === "booking-deleted" || booking.status === "cancelled";
    const stays = this.shows(booking, state.door) && booking.startTime.startsWith(state.day);
    if ((!stays || isGone) && !known) return state;
    touch("door", null);
    touch(key, this.words(name, booking, changes));
    if (!stays) return { ...state, bookings: others };
    if (isGone) setTimeout(() => this.#forget(booking._id), GONE_SHOWN);
    return { ...state, bookings: [...others, isGone ? { ...booking, status: "cancelled" } : booking].sort(inOrder) };
  }

  #forget(id) {
    this.state = { ...this.state, bookings: this.state.bookings.filter((one) => one._id !== id || one.status !== "cancelled") };
    this.plan();
  }

  words(name, { title, boardroom, startTime, attendees }, changes = {}) {
    if (name !== "booking-updated") return `${title}: ${name.split("-")[1]}`;
    const moved = [changes.boardroomChanged && `to ${boardroom.name}`, changes.timeChanged && `at ${clock(startTime)}`, changes.attendeesChanged && `with ${names(attendees) || "nobody"}`].filter(Boolean);
    return `${title} ${moved.join(", ") || "changed"}`;
  }

  describe({ name, data }) {
    const by = data.cancelledBy ?? data.deletedBy;
    return data.booking && `${this.words(name, data.booking, data.changes)}, ${data.booking.boardroom.name}${by ? `, by ${by}` : ""}`;
  }
}

class Calendar extends Rooms {
  draw() {
    const { day, boardrooms, bookings } = this.state;
    setText(find("#day"), new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeZone: "UTC" }).format(new Date(day)));
    const plan = find("#plan");
    if (!plan.firstChild) this.#drawFrame(plan, boardrooms);
    const column = new Map(boardrooms.map(({ _id }, place) => [_id, place + 2]));
    const old = new Map([...plan.querySelectorAll(".meeting")].map((node) => [node.dataset.key, node]));
    for (const one of bookings) {
      const key = `meeting:${one._id}`;
      const node = old.get(key) ?? plan.appendChild(element("div", { class: "meeting", "data-key": key, role: "group" }));
      old.delete(key);
      node.dataset.status = one.status;
      node.title = `${one.title}, ${one.boardroom.name}, ${clock(one.startTime)}–${clock(one.endTime)}, ${one.organizer.name}`;
      node.setAttribute("aria-label", node.title); // who can't see its column hears of its room
      node.style.gridColumn = column.get(one.boardroom._id);
      node.style.gridRow = `${Math.round(halfHours(one.startTime)) + 2} / ${Math.round(halfHours(one.endTime)) + 2}`;
      node.replaceChildren(element("b", {}, one.title), element("span", {}, `${clock(one.startTime)} ${one.organizer.name}`), element("span", {}, one.attendees.length ? `with ${names(one.attendees)}` : ""));
    }
    for (const node of old.values()) node.remove();
  }

  #drawFrame(plan, boardrooms) {
    plan.style.gridTemplateColumns = `auto repeat(${boardrooms.length}, minmax(0, 1fr))`;
    boardrooms.forEach(({ name, location, capacity }, place) => {
      const head = plan.appendChild(element("h3", {}, name, element("small", {}, `${location}, ${capacity}`)));
      head.style.gridArea = `1 / ${place + 2}`;
    });
    for (let hour = 0; hour <= HOURS; hour += 1) {
      const time = plan.appendChild(element("time", {}, `${String(FIRST_HOUR + hour).padStart(2, "0")}:00`));
      const line = plan.appendChild(element("hr", { "aria-hidden": "true" }));
      time.style.gridRow = line.style.gridRow = hour < HOURS ? `${hour * 2 + 2}` : "-1";
    }
  }

  toast({ name, data }, replayed) {
    if (!data.booking || replayed) return null;
    const by = data.cancelledBy ?? data.deletedBy;
    const severity = { "booking-created": "success", "booking-updated": "info" }[name] ?? "warning";
    const { boardroom, organizer } = data.booking;
    return { title: name.replace("-", " ").replace("b", "B"), message: `${this.words(name, data.booking, data.changes)} · ${boardroom.name}, ${by ? `by ${by}` : organizer.name}`, severity };
  }
}

class Door extends Rooms {
  shows(booking, door) {
    return booking.boardroom._id === door;
  }

  draw() {
    const { boardrooms, door, bookings } = this.state;
    const room = boardrooms.find(({ _id }) => _id === door);
    setText(find("#room-name"), room.name);
    setText(find("#room-place"), `${room.location}, seats ${room.capacity}`);
    setText(find("#booked"), plural(bookings.filter(({ status }) => status !== "cancelled").length, "meeting"));
    drawList(find("#agenda"), bookings, {
      key: (one) => `meeting:${one._id}`,
      make: () => element("li", {}, element("span", { class: "lead" }), element("p")),
      fill(row, one) {
        const [lead, text] = row.children;
        row.dataset.status = one.status;
        setText(lead, clock(one.startTime));
        text.replaceChildren(one.title, element("small", {}, `until ${clock(one.endTime)}, ${one.organizer.name}${one.attendees.length ? ` with ${names(one.attendees)}` : ""}`));
      },
    });
    find("#agenda-empty").hidden = bookings.length > 0;
  }
}

begin((rendered) => {
  // Joined by message, as ever, and named in the handshake, which gets what was missed in it.
  const line = (who, room) => socketio(who, { since: rendered.bookmark, rooms: [room], joins: [["join-room", room]] });
  return {
    calendar: new Calendar("calendar", line("calendar", "bookings"), rendered),
    door: new Door("door", line("door", `boardroom-${rendered.door}`), rendered),
  };
});
