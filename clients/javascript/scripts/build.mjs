// Makes dist/: both entries, minified, as ECMAScript and CommonJS modules, each with its types.
// The React entry imports the core instead of holding it a second time, and the core loads
// what goes by HTTP only when it is needed.
import { build } from 'esbuild'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { minify } from 'terser'

/** Properties that never leave these modules, neither to the application nor to the wire. */
const INTERNAL =
  /^(settings|opening|welcomedAt|heardAt|silence|heard|wire|isLive|speaks|tokens|reopen|forgive|refuse|later|asked|wishes|loading|holders|fresh|followers|expect|answered|lost|welcomed|whose|left|begin|want|hold|release|denied|resumes|isBehind|resume|index|emit|ask|use|frame|failed|resolve|reject|granted|closed|end|stop)$/

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
            // One class of errors: http.js takes it from the core.
            const outside = entry === 'index' ? /^\.\/http\.js$/ : /^\.\/(index|error)\.js$/
            bundle.onResolve({ filter: outside }, ({ path }) => ({
              path: path.replace('error', 'index').replace('.js', extension),
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
// What browsers load is shortened once more, by a twentieth. Not CommonJS: the names of its exports
// stand in an expression that is never run, for Node to read, and would be taken for dead code.
for (const entry of ['index', 'http', 'react']) {
  const [file, map] = [`dist/${entry}.js`, `dist/${entry}.js.map`]
  const shorter = await minify(readFileSync(file, 'utf8'), {
    module: true,
    ecma: 2020,
    compress: { passes: 3 },
    sourceMap: { content: readFileSync(map, 'utf8'), url: `${entry}.js.map` },
  })
  writeFileSync(file, shorter.code)
  writeFileSync(map, shorter.map)
}
for (const [types, core] of [['.d.ts', './index.js'], ['.d.cts', './index.cjs']]) {
  cpSync('src/types.d.ts', `dist/index${types}`)
  writeFileSync(`dist/react${types}`, readFileSync('src/react.d.ts', 'utf8').replaceAll('./types.d.ts', core))
}
