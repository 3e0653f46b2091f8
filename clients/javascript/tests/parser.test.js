import { expect, test } from 'vitest'
import { parser } from '../src/parser.js'

const TEXT = '\uFEFFretry: 2000\r\nevent: rowcast:welcome\r\nid: h.1\r\ndata: {"a":1}\r\n\r\n: comment\n\nevent: order\nid: h.2\ndata: line one\ndata: line two\n\nid: h.3\n\ndata:no space\r\rdata\nid\n\nevent: cut\ndata: never'
const BLOCKS = [
  { event: 'rowcast:welcome', data: '{"a":1}', id: 'h.1', retry: 2000 },
  { event: 'order', data: 'line one\nline two', id: 'h.2' },
  { event: 'message', id: 'h.3' },
  { event: 'message', data: 'no space' },
  { event: 'message', data: '', id: '' },
]

test('every way to cut the text into pieces gives the same blocks', () => {
  for (let size = 1; size <= TEXT.length; size++) {
    const blocks = []
    const feed = parser((block) => blocks.push(block))
    for (let at = 0; at < TEXT.length; at += size) feed(TEXT.slice(at, at + size))
    expect(blocks, `pieces of ${size}`).toEqual(BLOCKS)
  }
})

test('an event without id does not inherit the last one', () => {
  const blocks = []
  parser((block) => blocks.push(block))('id: h.1\ndata: 1\n\ndata: 2\n\n')
  expect(blocks[1].id).toBeUndefined()
})

test('a retry that is no number, and an id with a null, count for nothing', () => {
  const blocks = []
  parser((block) => blocks.push(block))('retry: soon\nid: a\0b\ndata: 1\n\n')
  expect(blocks).toEqual([{ event: 'message', data: '1' }])
})
