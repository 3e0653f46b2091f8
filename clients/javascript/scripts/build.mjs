// Makes dist/: both entries, minified, as ECMAScript and CommonJS modules, each with its types.
import { build } from 'esbuild'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
rmSync('dist', { recursive: true, force: true })
mkdirSync('dist')
for (const [format, extension] of [['esm', '.js'], ['cjs', '.cjs']]) {
  await build({
    entryPoints: ['src/index.js', 'src/react.js'],
    outdir: 'dist',
    outExtension: { '.js': extension },
    bundle: true,
    minify: true,
    format,
    target: 'es2022',
    external: ['react'],
    sourcemap: true,
    sourcesContent: true,
    legalComments: 'none',
  })
}
cpSync('src/types.d.ts', 'dist/index.d.ts')
cpSync('src/types.d.ts', 'dist/index.d.cts')
const react = readFileSync('src/react.d.ts', 'utf8')
writeFileSync('dist/react.d.ts', react.replaceAll('./types.d.ts', './index.js'))
writeFileSync('dist/react.d.cts', react.replaceAll('./types.d.ts', './index.cjs'))
