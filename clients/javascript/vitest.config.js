import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** Milliseconds, for a machine that has other things to do: a test waits for no clock but its own. */
const testTimeout = 60_000

/** The hooks in a document, with the newest React and with the oldest. */
const react = (version, alias) => ({
  resolve: { alias },
  test: { name: `react-${version}`, include: ['tests/react.test.js'], environment: 'jsdom', testTimeout, env: { ROWCAST_REACT: version }, restoreMocks: true },
})
const old = (name) => fileURLToPath(new URL(`tests/react-18/node_modules/${name}`, import.meta.url))

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'client',
          include: ['tests/*.test.js'],
          exclude: ['tests/react.test.js'],
          restoreMocks: true,
          testTimeout,
          // CommonJS as Node loads it: each file once, whoever asks for it.
          server: { deps: { external: [/\.cjs$/] } },
        },
      },
      react('19', {}),
      react('18', { react: old('react'), 'react-dom': old('react-dom') }),
    ],
  },
})
