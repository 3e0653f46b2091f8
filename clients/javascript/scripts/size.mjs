// Fails if a file is above its budget: minified, compressed. The core is what every page loads;
// http.js is loaded only when something must go by HTTP, is acknowledged, or when all is quiet.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const MOST = { 'index.js': 6000, 'index.cjs': 6700, 'http.js': 2500, 'react.js': 1000 }
for (const [name, most] of Object.entries(MOST)) {
  const size = gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length
  console.log(`${name}: ${size} of ${most} bytes compressed`)
  if (size > most) process.exitCode = 1
}
