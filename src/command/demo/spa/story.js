// The spa's page: a customer, a therapist and a manager, each with a session cookie of their own and
// on the JavaScript client. The same booking reaches each with what their role may see.
// It must never fill in for one what only another was told.
//
// Of spa.sql's demo.state() it needs, besides bookmark and statements: day, the date on show;
// customer {userId, name, bookings}, therapist {userId, name, schedule} and manager {bookings}, each
// with what that role would be told of that day; availability, as in AVAILABILITY_UPDATED, with
// serviceName and therapistName; and payments, as managers are told of them, the latest first. Its
// views sign in as `customer`, `therapist` and `manager`.

import { plural } from "/demo/clock.js";
import { drawList, element, find, setText } from "/demo/dom.js";
import { rowcast } from "/demo/rowcast.js";
import { begin, Story } from "/demo/story.js";

const GONE_SHOWN = 6000; // ms: what is cancelled is seen to be cancelled before it goes
const PAYMENTS = 3; // the latest
const TAKINGS = 50; // payments that are summed up: old ones are tidied away unheard

const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = (time) => time.slice(0, 5);
const date = (day) => new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" }).format(new Date(day));
const isGone = ({ bookingStatus }) => bookingStatus === "CANCELLED";
const inOrder = (a, b) => a.appointmentTime.localeCompare(b.appointmentTime) || a.bookingId - b.bookingId;

/** A view with bookings of one day: created, moved and of another status. */
class Day extends Story {
  reduce(state, { name, data }, touch) {
    const key = `booking:${data.bookingId}`;
    const others = state.bookings?.filter((one) => one.bookingId !== data.bookingId);
    switch (name) {
      case "BOOKING_CREATED":
      case "BOOKING_RESCHEDULED":
        if (data.appointmentDate !== state.day) return { ...state, bookings: others };
        touch(key, `${clock(data.appointmentTime)} ${data.serviceName}`);
        return { ...state, bookings: [...others, data].sort(inOrder) };
      case "BOOKING_STATUS_CHANGED": {
        const known = state.bookings.find((one) => one.bookingId === data.bookingId);
        if (!known) return state;
        touch(key, `${data.oldStatus} → ${data.newStatus}`.toLowerCase());
        if (data.newStatus === "CANCELLED") setTimeout(() => this.#forget(data.bookingId), GONE_SHOWN);
        return { ...state, bookings: [...others, { ...known, bookingStatus: data.newStatus }].sort(inOrder) };
      }
      default:
        return state;
    }
  }

  #forget(id) {
    this.state = { ...this.state, bookings: this.state.bookings.filter((one) => one.bookingId !== id || !isGone(one)) };
    this.plan();
  }

  drawBookings(list, empty, words) {
    const { bookings } = this.state;
    drawList(find(list), bookings, {
      key: (one) => `booking:${one.bookingId}`,
      make: () => element("li", {}, element("span", { class: "lead" }), element("p"), element("span", { class: "status" })),
      fill(row, one) {
        const [lead, text, status] = row.children;
        row.dataset.status = one.bookingStatus;
        setText(lead, clock(one.appointmentTime));
        text.replaceChildren(...words(one));
        status.dataset.status = one.bookingStatus;
        setText(status, one.bookingStatus.replace("_", " "));
      },
    });
    find(empty).hidden = bookings.length > 0;
  }

  describe({ name, data }) {
    switch (name) {
      case "BOOKING_CREATED": return `${clock(data.appointmentTime)} ${data.serviceName}, ${data.therapistName}`;
      case "BOOKING_STATUS_CHANGED": return `${data.serviceName} ${clock(data.appointmentTime)}: ${data.oldStatus} → ${data.newStatus}`;
      case "AVAILABILITY_UPDATED": return `service ${data.serviceId}, therapist ${data.therapistId}: ${plural(data.availableSlots.length, "free time")}`;
      case "PAYMENT_COMPLETED": return `${money.format(data.totalAmount)} by ${data.paymentMethod.replace("_", " ").toLowerCase()}`;
      case "THERAPIST_SCHEDULE_UPDATED": return `${data.therapistName}: ${plural(data.bookings.length, "booking")}`;
      default: return undefined;
    }
  }
}

class Customer extends Day {
  know({ day, customer, availability, payments }) {
    return { day, me: customer, bookings: customer.bookings, availability, payments: payments.filter((one) => one.customerId === customer.userId).slice(0, PAYMENTS) };
  }

  reduce(state, event, touch) {
    const { name, data } = event;
    const { availability, payments } = state;
    if (name === "AVAILABILITY_UPDATED") {
      if (data.serviceId !== availability.serviceId || data.therapistId !== availability.therapistId || data.date !== availability.date) return state;
      touch("free", `${availability.availableSlots.length} → ${plural(data.availableSlots.length, "free time")}`);
      return { ...state, availability: { ...availability, ...data } };
    }
    if (name === "PAYMENT_COMPLETED") {
      touch(`payment:${data.paymentId}`, `Paid ${money.format(data.totalAmount)}`);
      return { ...state, payments: [data, ...payments].slice(0, PAYMENTS) };
    }
    return super.reduce(state, event, touch);
  }

  draw() {
    const { me, day, availability, payments } = this.state;
    setText(find("#customer-name"), `${me.name}, ${date(day)}`);
    setText(find("#free-of"), `${availability.serviceName} with ${availability.therapistName}`);
    find("#free").replaceChildren(...availability.availableSlots.map(({ time }) => element("li", {}, clock(time))));
    find("#free-empty").hidden = availability.availableSlots.length > 0;
    this.drawBookings("#mine", "#mine-empty", (one) => [one.serviceName, element("small", {}, `${one.therapistName} · ${money.format(one.price)}`)]);
    drawList(find("#paid"), payments, {
      key: (one) => `payment:${one.paymentId}`,
      make: (one) => element("li", {}, element("span", { class: "lead", "data-kind": "payment" }, "¤"),
        element("p", {}, one.items.map((item) => item.serviceName).join(", "), element("small", {}, one.paymentMethod.replace("_", " ").toLowerCase())), element("b", {}, money.format(one.totalAmount))),
    });
  }

  toast({ name, data }, replayed) {
    if (name === "BOOKING_STATUS_CHANGED" && !replayed) return { title: "Your booking", message: `${data.serviceName}, ${clock(data.appointmentTime)}: ${data.newStatus.replace("_", " ").toLowerCase()}` };
    return null;
  }
}

class Therapist extends Day {
  know({ day, therapist }) {
    return { day, me: therapist, schedule: therapist.schedule.schedule, bookings: therapist.schedule.bookings };
  }

  reduce(state, event, touch) {
    const { name, data } = event;
    if (name !== "THERAPIST_SCHEDULE_UPDATED") return super.reduce(state, event, touch);
    if (data.date !== state.day) return state;
    touch("hours", null);
    // What was cancelled is not in the schedule, and shown for a moment longer.
    const gone = state.bookings.filter((one) => isGone(one) && !data.bookings.some(({ bookingId }) => bookingId === one.bookingId));
    return { ...state, schedule: data.schedule, bookings: [...data.bookings, ...gone].sort(inOrder) };
  }

  draw() {
    const { me, day, schedule } = this.state;
    setText(find("#therapist-name"), `${me.name}, ${date(day)}`);
    setText(find("#hours"), schedule.map(({ startTime, endTime }) => `${clock(startTime)}–${clock(endTime)}`).join(", "));
    this.drawBookings("#day", "#day-empty", (one) => [one.customerName, element("small", {}, `${one.serviceName}, ${one.durationMinutes} min.`), one.bookingNotes ? element("small", { class: "note" }, one.bookingNotes) : ""]);
  }
}

class Manager extends Day {
  know({ day, manager, payments }) {
    return { day, bookings: manager.bookings, takings: payments.slice(0, TAKINGS) };
  }

  reduce(state, event, touch) {
    const { name, data } = event;
    if (name !== "PAYMENT_COMPLETED") return super.reduce(state, event, touch);
    touch("takings", `${data.customerName} paid ${money.format(data.totalAmount)}`);
    const others = state.takings.filter((one) => one.paymentId !== data.paymentId);
    return { ...state, takings: [data, ...others].sort((a, b) => b.paymentId - a.paymentId).slice(0, TAKINGS) };
  }

  draw() {
    const { bookings, takings } = this.state;
    setText(find("#count"), bookings.filter((one) => !isGone(one)).length);
    setText(find("#under-way"), bookings.filter((one) => one.bookingStatus === "IN_PROGRESS").length);
    setText(find("#takings"), money.format(takings.reduce((sum, { totalAmount }) => sum + Number(totalAmount), 0)));
    this.drawBookings("#all", "#all-empty", (one) => [one.customerName, element("small", {}, `${one.serviceName}, ${one.therapistName}`), element("small", {}, `${money.format(one.price)} · ${one.customerPhone ?? "no phone"}`)]);
  }
}

begin((rendered) => {
  const line = (who, rooms = []) => rowcast(who, { by: "cookie", since: rendered.bookmark, rooms });
  return {
    customer: new Customer("customer", line("customer", ["calendar"]), rendered),
    therapist: new Therapist("therapist", line("therapist"), rendered),
    manager: new Manager("manager", line("manager"), rendered),
  };
});
