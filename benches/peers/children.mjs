// Programs that a peer needs beside itself: they live in a temporary directory and end with it.
// It must never daemonize anything, nor leave a directory behind.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A directory that is removed when this process ends. */
export function directory() {
  const place = mkdtempSync(join(tmpdir(), "rowcast-bench-"));
  process.on("exit", () => rmSync(place, { recursive: true, force: true }));
  return place;
}

// What is killed can't tell its children; on Linux the kernel does.
const TOLD_BY_KERNEL = process.platform === "linux" ? ["setpriv", "--pdeathsig", "TERM"] : [];

/** Runs a program until SIGTERM, which it gets as well; if it ends by itself, so does this one. */
export function run(program, args) {
  const [file, ...rest] = [...TOLD_BY_KERNEL, program, ...args];
  const child = spawn(file, rest, { stdio: ["ignore", "ignore", "inherit"] });
  let ending = false;
  child.on("error", (error) => {
    console.error(`${program} does not run: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code) => {
    if (!ending) console.error(`${program} ended with ${code}`);
    process.exit(ending ? 0 : 1);
  });
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      ending = true;
      child.kill("SIGTERM");
    });
  }
}
