// What a user's and an admin's view share: a model of their own on the JavaScript client's live
// states. Hands changes to what all views are. It must never keep what only the other one received.

import { connectAs, lineOf } from "/demo/rowcast.js";
import { View } from "/demo/view.js";
import { Model } from "./model.js";

export class LabView extends View {
  constructor(who, rendered) {
    const connection = connectAs(who);
    super(who, lineOf(connection));
    this.model = new Model(connection, rendered, (status) => {
      if (status !== "live") this.showStatus();
      this.plan();
    });
    connection.on("reset", () => this.model.reload());
  }

  again() {
    super.again();
    this.model.reload({ onlyFailed: true });
  }

  get isCaughtUp() {
    return this.model.caughtUp;
  }

  changes(event) {
    return this.model.changes(event);
  }

  nodes(key) {
    const [kind, id] = key.split(":");
    const selector = { slot: `[data-slot="${id}"]`, lab: `[data-lab="${id}"]` }[kind];
    return selector ? [...this.root.querySelectorAll(selector)] : super.nodes(key);
  }

  describe({ name, data }) {
    const { model } = this;
    const slot = data.slotId === undefined ? "" : model.slotName(data.slotId);
    switch (name) {
      case "booking:created": return `User ${data.userId} booked ${slot}, ${model.labName(data.labId)}`;
      case "booking:updated": return `Booking ${data.bookingId} of user ${data.userId} is ${data.status}`;
      case "booking:cancelled": return `User ${data.userId} left ${slot}, ${model.labName(data.labId)}`;
      case "time-slot:updated": return `${slot}, ${model.labName(data.labId)}: ${data.status === "open" ? `${data.availableSpots} left` : data.status}`;
      case "waitlist:position-changed": return `${slot}: place ${data.oldPosition} → ${data.newPosition}`;
      case "waitlist:spot-available": return `${slot}: a spot for user ${data.userId}`;
      case "lab:status-changed": return `${model.labName(data.labId)} is ${data.status}${data.reason ? `: ${data.reason}` : ""}`;
      case "notification:new":
      case "system:announcement": return data.message ?? "";
      case "payment:completed":
      case "payment:failed":
      case "payment:refunded": return `${data.amount} ${data.currency} of user ${data.userId}, ${data.status}`;
      default: return undefined;
    }
  }

  toast({ name, data }, replayed) {
    const { model } = this;
    switch (name) {
      case "system:announcement":
        if (data.expiresAt && Date.parse(data.expiresAt) < Date.now()) return null;
        return { title: "Announcement", message: data.message, severity: data.severity };
      case "notification:new": // one from a while ago would only startle
        return replayed ? null : { title: "For you", message: data.message };
      case "waitlist:spot-available":
        return { title: "A spot is free", message: `${model.slotName(data.slotId)}, ${model.labName(data.labId)}`, severity: "success" };
      case "lab:status-changed":
        return { title: model.labName(data.labId), message: `${data.status}${data.reason ? `: ${data.reason}` : ""}`, severity: data.status === "open" ? "success" : "warning" };
      default:
        return null;
    }
  }
}
