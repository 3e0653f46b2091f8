// The ticket shop's page: Alice and Bob look at the same event. Alice's page is as it has been, a
// plain WebSocket below /ws/events; Bob's is on the JavaScript client. They see the same.
// It must never add seats up: each event says how many are left.
//
// Of tickets.sql's demo.state() it needs, besides bookmark and statements: event, a row of the call
// event_seats; and people {userId: name}. Its views sign in as `alice` and `bob`.

import { formatSecond } from "/demo/clock.js";
import { drawList, element, find, roll, setText } from "/demo/dom.js";
import { door } from "/demo/door.js";
import { rowcast } from "/demo/rowcast.js";
import { begin, Story } from "/demo/story.js";

const BOOKINGS = 6; // the latest
const SEATS_DRAWN = 200; // a larger hall is drawn as if it had so many

const level = ({ availableSeats, seatCapacity }) => (availableSeats <= 0 ? "full" : availableSeats <= seatCapacity / 5 ? "few" : "plenty");

class Page extends Story {
  constructor(who, line, rendered) {
    super(who, line, rendered);
    this.seats = element("ol", { class: "seats", "aria-hidden": "true" });
    this.number = element("b", { "data-seats": "" });
    this.of = element("span");
    this.news = element("em");
    this.list = element("ul", { class: "rows" });
    this.none = element("p", { class: "empty" }, "Waiting for somebody to book.");
    const { title, venue, startsAt } = this.state.event;
    const at = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short", timeZone: "UTC" });
    this.root.append(
      element("div", { class: "show" }, element("h3", {}, title), element("p", {}, `${venue}, ${at.format(new Date(startsAt))}`)),
      element("div", { class: "left", "data-key": "seats" }, this.number, this.of, this.news),
      this.seats, element("h3", {}, "Latest bookings"), this.list, this.none);
  }

  know({ event, people }) {
    return { event, people, latest: this.state?.latest ?? [] };
  }

  reduce(state, { name, data, id, at }, touch) {
    const { event } = state;
    if (data.eventId !== event.eventId || data.availableSeats === undefined) return state;
    touch("seats", `${event.availableSeats} → ${data.availableSeats} left`);
    const next = { ...state, before: event.availableSeats, event: { ...event, availableSeats: data.availableSeats, seatCapacity: data.seatCapacity ?? event.seatCapacity } };
    if (!data.bookingId) return next;
    const key = `booking:${data.bookingId}:${name}`;
    touch(key, null);
    return { ...next, latest: [{ key, id, name, at, ...data }, ...state.latest].slice(0, BOOKINGS) };
  }

  draw() {
    const { event, before, latest } = this.state;
    roll(this.number, event.availableSeats);
    setText(this.of, `of ${event.seatCapacity} seats left`);
    setText(this.news, before === undefined || before === event.availableSeats ? "" : `was ${before}`);
    this.number.parentElement.dataset.level = level(event);
    const scale = Math.max(1, event.seatCapacity / SEATS_DRAWN);
    const all = Math.round(event.seatCapacity / scale);
    const free = Math.ceil(event.availableSeats / scale);
    while (this.seats.children.length > all) this.seats.lastElementChild.remove();
    while (this.seats.children.length < all) this.seats.append(element("li"));
    [...this.seats.children].forEach((seat, place) => seat.toggleAttribute("data-free", place >= all - free));
    drawList(this.list, latest, {
      key: (one) => one.key,
      make: (one) => element("li", {},
        element("span", { class: "lead", "data-kind": one.name === "booking_created" ? "created" : "cancelled" }, one.bookingId),
        element("p", {}, this.words(one), element("small", {}, `${one.availableSeats} left after it`)),
        element("time", { datetime: one.at }, formatSecond.format(new Date(one.at)))),
    });
    this.none.hidden = latest.length > 0;
  }

  words({ name, userId }) {
    const person = this.state.people[userId] ?? `User ${userId}`;
    return name === "booking_created" ? `${person} booked` : `${person} cancelled`;
  }

  describe({ name, data }) {
    if (data.bookingId) return `${this.words({ name, ...data })}: ${data.availableSeats} left`;
    return data.seatCapacity && `${data.availableSeats} of ${data.seatCapacity} left`;
  }
}

begin((rendered) => {
  const { bookmark, event } = rendered;
  const own = { path: `ws/events/${event.eventId}`, since: bookmark };
  return {
    alice: new Page("alice", door("alice", own), rendered),
    bob: new Page("bob", rowcast("bob", { since: bookmark, rooms: [`event:${event.eventId}`] }), rendered),
  };
});
