// Packs the package, installs it into an empty project, and uses it there from ESM, from CommonJS,
// Jest's too, and from TypeScript in strict mode, resolved as bundlers do and as Node does.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('..', import.meta.url))
const project = mkdtempSync(join(tmpdir(), 'rowcast-packed-'))
const run = (command, ...args) => execFileSync(command, args, { cwd: project, timeout: 60_000, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })

try {
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', project], { cwd: here, stdio: 'ignore' })
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'))
  writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true }')
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', '--omit=peer', '--silent', `./${tarball}`)

  // What a project that uses React has besides.
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  for (const name of ['react', 'react-dom', 'csstype', '@types/react', '@types/react-dom', '@types/node']) {
    symlinkSync(join(here, 'node_modules', name), join(project, 'node_modules', name))
  }

  const check = `
    const told = []
    const connection = connect({ url: 'http://127.0.0.1:1', token: 'jwt', transports: ['poll'], retryMin: 1, fetch: async () => Response.json({ outcome: 'live', rooms: [], events: [], bookmark: 'h.1_0' }) })
    connection.on('status', ({ status }) => {
      told.push(status)
      if (status !== 'live') return
      connection.close()
      console.log(typeof RowcastError, typeof useLive, told.join())
    })`
  writeFileSync(join(project, 'esm.mjs'), `import { connect, RowcastError } from 'rowcast-client'\nimport { useLive } from 'rowcast-client/react'\n${check}`)
  writeFileSync(join(project, 'common.cjs'), `const { connect, RowcastError } = require('rowcast-client')\nconst { useLive } = require('rowcast-client/react')\n${check}`)
  // CommonJS as Jest has it: of functions that are not Node's modules, behind whose import() there is nothing.
  writeFileSync(join(project, 'jest.cjs'), `
    const { runInThisContext } = require('vm')
    function load(file) {
      const module = { exports: {} }
      const run = runInThisContext('(function (module, exports, require) {' + require('fs').readFileSync(file, 'utf8') + '\\n})')
      run(module, module.exports, (name) => load(require('path').resolve(file, '..', name)))
      return module.exports
    }
    const { connect, RowcastError } = load(require.resolve('rowcast-client'))
    const { useLive } = require('rowcast-client/react')\n${check}`)
  for (const file of ['esm.mjs', 'common.cjs', 'jest.cjs']) {
    const said = run(process.execPath, file).trim()
    if (said !== 'function function connecting,live,offline') throw new Error(`${file} said ${said}`)
    console.log(`${file}: ${said}`)
  }

  // Where a server renders parts of a page, only what says this is left to the browser.
  for (const file of ['react.js', 'react.cjs']) {
    const [first] = readFileSync(join(project, 'node_modules/rowcast-client/dist', file), 'utf8').split('\n')
    if (first !== '"use client";') throw new Error(`${file} begins with ${first}`)
  }

  // Where TypeScript looks that knows no exports (node10); the one at hand can't be told to.
  const { typesVersions } = JSON.parse(readFileSync(join(project, 'node_modules/rowcast-client/package.json'), 'utf8'))
  readFileSync(join(project, 'node_modules/rowcast-client', typesVersions['*'].react[0]))

  const typed = `
    import { connect, RowcastError, type Connection } from 'rowcast-client'
    import { RowcastProvider, useLive, useStatus } from 'rowcast-client/react'
    interface Events { order: { id: number } }
    export const connection: Connection<Events> = connect<Events>({ url: 'http://a', token: () => 'jwt' })
    connection.on('order', ({ id }) => id.toFixed())
    // @ts-expect-error no such event
    connection.on('ordr', () => {})
    export const use = () => [useLive<number, Events>('f', 'a', (n, event) => n + event.data.id).state?.toFixed(), useStatus().status, RowcastProvider, RowcastError]
  `
  const [angular, types] = [...readFileSync(join(here, 'README.md'), 'utf8').matchAll(/```ts\n([^]*?)```/g)].map(([, code]) => code)
  writeFileSync(join(project, 'angular.ts'), `declare const url: string, token: string\n${angular}`)
  // As much of it as is asked for: all of it would be a thousand files.
  writeFileSync(join(project, 'core.d.ts'), `declare module '@angular/core' {
    export function inject<T>(what: new () => T): T
    export function Injectable(how: { providedIn: 'root' }): (service: unknown) => void
    export class NgZone { runOutsideAngular<T>(fn: () => T): T }
    export class DestroyRef { onDestroy(fn: () => void): void }
    export function afterNextRender(fn: () => void): void
    export function signal<T>(value: T): (() => T) & { set(value: T): void; asReadonly(): () => T }
  }`)
  writeFileSync(join(project, 'readme.ts'), `import { connect } from 'rowcast-client'\ndeclare const url: string\n${types}`)
  for (const extension of ['ts', 'mts', 'cts']) writeFileSync(join(project, `typed.${extension}`), typed)
  const tsc = join(here, 'node_modules/typescript/bin/tsc')
  for (const [module, resolution, ...files] of [['esnext', 'bundler', 'typed.ts', 'readme.ts', 'angular.ts', 'core.d.ts'], ['node16', 'node16', 'typed.mts', 'typed.cts']]) {
    run(process.execPath, tsc, '--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2022,dom', '--module', module, '--moduleResolution', resolution, ...files)
    console.log(`tsc --moduleResolution ${resolution}: ${files.join(', ')}`)
  }
} catch (error) {
  console.error(error.stdout || error)
  process.exitCode = 1
} finally {
  rmSync(project, { recursive: true, force: true })
}
