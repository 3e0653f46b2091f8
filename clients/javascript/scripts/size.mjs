// Fails if a file is above its budget: minified, compressed. The core is what every page loads;
// fallback.js is loaded only where WebSocket is blocked or absent, or when all is quiet.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const MOST = { 'index.js': 6000, 'index.cjs': 6200, 'fallback.js': 2000, 'react.js': 1000 }
for (const [name, most] of Object.entries(MOST)) {
  const size = gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length
  console.log(`${name}: ${size} of ${most} bytes compressed`)
  if (size > most) process.exitCode = 1
}
