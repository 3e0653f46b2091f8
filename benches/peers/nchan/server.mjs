// The peer `nchan`: nginx pushes, and this bridge publishes to it and answers who may subscribe.
// Hands over to nginx.conf beside it.

import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "undici";
import { directory, run } from "../children.mjs";
import { HOST, databaseUrl, jwtSecret, port, ready, workers } from "../settings.mjs";
import { listen } from "../source.mjs";
import { query, verifier } from "../token.mjs";

// Requests under way on the one connection that keeps the events' order.
const PIPELINED = 64;
const TRIES = 200;
const TRY_MS = 25;

const place = directory();
const verify = verifier(jwtSecret);
const permission = createServer((request, response) => {
  const said = query(request.headers["x-original-uri"] ?? "");
  response.writeHead(said.get("room") && verify(said.get("token")) ? 200 : 401).end();
});
permission.keepAliveTimeout = 0;
permission.listen(0, HOST);
await once(permission, "listening");

const values = {
  bridge: permission.address().port,
  module: process.env.ROWCAST_BENCH_NCHAN || "modules/ngx_nchan_module.so",
  place,
  port,
  // Its default user could not write here.
  user: process.getuid() === 0 ? "user root;" : "",
  workers,
};
const template = readFileSync(new URL("nginx.conf", import.meta.url), "utf8");
const conf = join(place, "nginx.conf");
writeFileSync(conf, template.replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces));
run(process.env.ROWCAST_BENCH_NGINX || "nginx", ["-p", place, "-c", conf, "-e", "stderr"]);

const nginx = new Client(`http://${HOST}:${port}`, { pipelining: PIPELINED });

async function publish(room, event) {
  const { statusCode, body } = await nginx.request({
    path: `/publish?room=${encodeURIComponent(room)}`,
    method: "POST",
    // Never said twice, but undici sends only what may be said twice without waiting for answers.
    idempotent: true,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(event),
  });
  await body.dump();
  if (statusCode >= 300) throw new Error(`nchan answered ${statusCode}`);
}

async function untilItServes() {
  for (let tries = 1; ; tries++) {
    try {
      const { body } = await nginx.request({ path: "/", method: "GET" });
      return await body.dump();
    } catch (error) {
      if (tries === TRIES) throw error;
      await pause(TRY_MS);
    }
  }
}

await untilItServes();
await listen(databaseUrl, publish);
ready();
