// What the README says of options, against the types and the code.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { settle } from '../src/settings.js'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
const section = read('../README.md').split('## Options')[1].split('\n## ')[0]
const rows = section.split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split('|').slice(1, 4).map((cell) => cell.trim()))
/** Each option with its default: of a row that names two, the first and the second. */
const documented = Object.fromEntries(
  rows.flatMap(([names, defaults]) => names.match(/\w+/g).map((name, index) => [name, (defaults.match(/\d+|\w+/g) ?? [])[index]])),
)
const typed = read('../src/types.d.ts').split('export interface Options {')[1].split('\n}')[0]

test('the README lists every option, and no other', () => {
  expect(Object.keys(documented).sort()).toEqual([...typed.matchAll(/^  (\w+)\??:/gm)].map(([, name]) => name).sort())
})

test('the README and the types name the defaults that hold', () => {
  const numbers = Object.entries(settle({ url: 'http://a', WebSocket: class {} })).filter(([, value]) => typeof value === 'number')
  expect(numbers.length).toBeGreaterThan(8)
  for (const [name, value] of numbers) {
    expect([name, documented[name]]).toEqual([name, String(value)])
    expect(typed).toMatch(new RegExp(`default ${value}\\. \\*/\\n  ${name}\\?: number`))
  }
})
