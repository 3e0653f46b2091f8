// The tests once more, on what is published, minified and with its names shortened: all of them on
// the ECMAScript modules, and those of the core on CommonJS, which has no hooks of its own to test.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url))
for (const [format, ...which] of [['js'], ['cjs', '--project', 'client']]) {
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...which, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, ROWCAST_CLIENT_DIST: format },
  })
  if (status !== 0) process.exit(1)
}
