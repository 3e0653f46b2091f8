// Fails if what a page loads is above its budget: the minified core, compressed.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const MOST = { 'index.js': 6000, 'index.cjs': 6200, 'react.js': 1500 }
for (const [name, most] of Object.entries(MOST)) {
  const size = gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length
  console.log(`${name}: ${size} of ${most} bytes compressed`)
  if (size > most) process.exitCode = 1
}
