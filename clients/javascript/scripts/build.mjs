// Makes dist/: both entries, minified, as ECMAScript and CommonJS modules, each with its types.
// The React entry imports the core instead of holding it a second time, and the core loads
// what goes by HTTP only when it is needed.
import { build } from 'esbuild'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Properties that never leave these modules, neither to the application nor to the wire. */
const INTERNAL =
  /^(settings|opening|welcomedAt|heardAt|silence|heard|wire|isLive|speaks|tokens|reopen|forgive|refuse|later|asked|wishes|loading|holders|fresh|followers|expect|answered|lost|welcomed|subscribed|whose|left|begin|want|hold|release)$/

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
rmSync('dist', { recursive: true, force: true })
mkdirSync('dist')
// The same names in every file: they hand such objects to each other.
const mangleCache = {}
for (const [format, extension] of [['esm', '.js'], ['cjs', '.cjs']]) {
  for (const entry of ['index', 'http', 'react']) {
    const { mangleCache: grown } = await build({
      entryPoints: [`src/${entry}.js`],
      outfile: `dist/${entry}${extension}`,
      bundle: true,
      minify: true,
      mangleProps: INTERNAL,
      mangleCache,
      format,
      // For Node to find the names in a CommonJS module that is imported.
      platform: format === 'cjs' ? 'node' : 'browser',
      target: 'es2022',
      external: ['react'],
      plugins: [
        {
          name: 'core',
          setup(bundle) {
            bundle.onResolve({ filter: /^\.\/(index|http)\.js$/ }, ({ path }) => ({
              path: path.replace('.js', extension),
              external: true,
            }))
          },
        },
      ],
      sourcemap: true,
    })
    Object.assign(mangleCache, grown)
  }
}
for (const [types, core] of [['.d.ts', './index.js'], ['.d.cts', './index.cjs']]) {
  cpSync('src/types.d.ts', `dist/index${types}`)
  writeFileSync(`dist/react${types}`, readFileSync('src/react.d.ts', 'utf8').replaceAll('./types.d.ts', core))
}
