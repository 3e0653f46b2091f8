// Where every peer's events come from: row triggers send them with pg_notify on one channel.
// Hands over to the peer, once an event. It must never reconnect silently: a peer that has lost
// its source ends, so that a run never measures one that misses events.

import pg from "pg";

const CHANNEL = "bench";

/** Calls `publish(room, event)` for each notification `{"room": …, "n": …, "t": …, "padding": …}`. */
export async function listen(url, publish) {
  const client = new pg.Client({ connectionString: url, application_name: "bench-peer" });
  client.on("notification", ({ payload }) => {
    const { room, n, t, padding } = JSON.parse(payload);
    publish(room, { n, t, padding });
  });
  const end = (error) => {
    console.error(`the source of events is gone: ${error?.message ?? "closed"}`);
    process.exit(1);
  };
  client.on("error", end);
  client.on("end", end);
  await client.connect();
  await client.query(`listen ${CHANNEL}`);
}
