// Makes dist/: both entries, minified, as ECMAScript and CommonJS modules, each with its types.
// The React entry imports the core instead of holding it a second time, and the core loads
// what goes by HTTP, and acknowledgements, only when they are needed.
import { build } from 'esbuild'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { minify } from 'terser'

/** Properties that never leave these modules, neither to the application nor to the wire. */
const INTERNAL =
  /^(settings|opening|welcomedAt|heardAt|silence|heard|wire|isLive|speaks|tokens|reopen|forgive|refuse|later|asked|wishes|loading|holders|fresh|followers|expect|answered|lost|welcomed|whose|left|begin|want|hold|release|denied|resumes|isBehind|index|emit|ask|use|frame|failed|resolve|reject|granted|closed|end|stop|isTrying|lacks|say|ahead|reset|isClosed|offered|declined|alone|gone|rest|rests|byPost)$/

/** The files of the package, without extension: the core, what it loads when it is needed, the hooks. */
const ENTRIES = ['index', 'http', 'acks', 'react']
/** How esbuild takes a CommonJS module that it does not know, and gives one away: a default is made up for it, and
 * a copy of its exports. Ours need neither. */
const TAKEN = /\w+\((require\("[^"]+"\)),1\)/g
const GIVEN = /\w+\((\w+)\(\{\},("__esModule",\{value:!0\})\),(\w+)\)/
/** What esbuild puts last into a CommonJS module for Node to find the names of its exports: an
 * expression that is never run, and would be taken for dead code. */
const NAMES = /0&&\(module\.exports=\{[^}]*\}\);/

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
rmSync('dist', { recursive: true, force: true })
mkdirSync('dist')
// The same names in every file: they hand such objects to each other.
const mangleCache = {}
for (const [format, extension] of [['esm', '.js'], ['cjs', '.cjs']]) {
  for (const entry of ENTRIES) {
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
      // Where CommonJS is not Node's own, as in Jest, nothing is behind import().
      supported: { 'dynamic-import': format === 'esm' },
      // What the README says that it runs on.
      target: ['chrome93', 'firefox92', 'safari15.4', 'node20'],
      external: ['react'],
      plugins: [
        {
          name: 'core',
          setup(bundle) {
            // One class of errors: the others take it from the core.
            const outside = entry === 'index' ? /^\.\/(http|acks)\.js$/ : /^\.\/(index|error|http)\.js$/
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
// What applications load is shortened once more, by a twentieth.
for (const entry of ENTRIES) {
  for (const extension of ['.js', '.cjs']) {
    const [file, map] = [`dist/${entry}${extension}`, `dist/${entry}${extension}.map`]
    const made = readFileSync(file, 'utf8')
    const [names] = made.match(NAMES) ?? ['']
    if (!names === (extension === '.cjs')) throw new Error(`${file}: esbuild names exports otherwise than it did`)
    // As long as it was: the source map counts columns.
    const plain = made
      .replace(names, '')
      .replace(TAKEN, (all, module) => module.padEnd(all.length))
      .replace(GIVEN, (all, define, mark, exports) => `${define}(${exports},${mark})`.padEnd(all.length))
    const shorter = await minify(plain, {
      module: extension === '.js',
      toplevel: true,
      ecma: 2020,
      // Hooks run in browsers: where a server renders parts of a page, these files are none of its own.
      format: { preamble: entry === 'react' ? '"use client";' : '' },
      // To read a property does nothing here: what is only read is left out.
      compress: { passes: 3, hoist_funs: true, keep_fargs: false, pure_getters: true },
      sourceMap: { content: readFileSync(map, 'utf8') },
    })
    writeFileSync(file, `${shorter.code}${names && `\n${names}`}\n//# sourceMappingURL=${entry}${extension}.map\n`)
    writeFileSync(map, shorter.map)
  }
}
for (const [types, core] of [['.d.ts', './index.js'], ['.d.cts', './index.cjs']]) {
  cpSync('src/types.d.ts', `dist/index${types}`)
  writeFileSync(`dist/react${types}`, readFileSync('src/react.d.ts', 'utf8').replaceAll('./types.d.ts', core))
}
