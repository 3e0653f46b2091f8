// The tests once more, on what is published: minified, with its names shortened.
process.env.ROWCAST_CLIENT_DIST = '1'
process.argv = [...process.argv.slice(0, 2), 'run', ...process.argv.slice(2)]
await import('../node_modules/vitest/vitest.mjs')
