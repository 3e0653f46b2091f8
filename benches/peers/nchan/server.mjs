// The peer `nchan`: nginx pushes; this bridge answers who may subscribe, and publishes to it.
// Hands over to nginx.conf and publisher.mjs.

import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { directory, run } from "../children.mjs";
import { HOST, databaseUrl, jwtSecret, port, ready, workers } from "../settings.mjs";
import { listen } from "../source.mjs";
import { query, verifier } from "../token.mjs";
import { publisher } from "./publisher.mjs";

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

await listen(databaseUrl, await publisher(port, HOST));
ready();
