// Makes dist/: both entries, minified, as ECMAScript and CommonJS modules, each with its types.
// The React entry imports the core instead of holding it a second time.
import { build } from 'esbuild'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
rmSync('dist', { recursive: true, force: true })
mkdirSync('dist')
for (const [format, extension] of [['esm', '.js'], ['cjs', '.cjs']]) {
  for (const entry of ['index', 'react']) {
    await build({
      entryPoints: [`src/${entry}.js`],
      outfile: `dist/${entry}${extension}`,
      bundle: true,
      minify: true,
      format,
      target: 'es2022',
      external: ['react'],
      plugins: [
        {
          name: 'core',
          setup(bundle) {
            bundle.onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: `./index${extension}`, external: true }))
          },
        },
      ],
      sourcemap: true,
    })
  }
}
for (const [types, core] of [['.d.ts', './index.js'], ['.d.cts', './index.cjs']]) {
  cpSync('src/types.d.ts', `dist/index${types}`)
  writeFileSync(`dist/react${types}`, readFileSync('src/react.d.ts', 'utf8').replaceAll('./types.d.ts', core))
}
