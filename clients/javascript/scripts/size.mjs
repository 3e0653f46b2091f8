// Fails if a file is above its budget: minified, compressed. The core is what every page loads;
// http.js is loaded only when something must go by HTTP, or when all is quiet, acks.js only by who
// acknowledges.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const MOST = { 'index.js': 7000, 'index.cjs': 7200, 'http.js': 2200, 'acks.js': 700, 'react.js': 1000 }
for (const [name, most] of Object.entries(MOST)) {
  const size = gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length
  console.log(`${name}: ${size} of ${most} bytes compressed`)
  if (size > most) process.exitCode = 1
}
