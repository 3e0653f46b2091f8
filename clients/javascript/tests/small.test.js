import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { backoff, FLOOR } from '../src/backoff.js'
import { clock } from '../src/clock.js'
import { emitter } from '../src/emitter.js'
import { seen } from '../src/seen.js'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

test('pauses grow with full jitter, have a cap, and are never zero', () => {
  const most = backoff(500, 30_000, () => 0.999999)
  expect([1, 2, 3, 4].map(() => Math.round(most.next()))).toEqual([500, 1000, 2000, 4000])
  for (let i = 0; i < 2000; i++) expect(most.next()).toBeLessThanOrEqual(30_000)
  const least = backoff(500, 30_000, () => 0)
  for (let i = 0; i < 2000; i++) expect(least.next()).toBe(FLOOR)
  most.reset()
  expect(most.next()).toBeLessThanOrEqual(500)
})

test('a wait beyond 24.8 days does not fire at once', async () => {
  const fn = vi.fn()
  const days = 24 * 3600 * 1000
  clock().later(60 * days, fn)
  await vi.advanceTimersByTimeAsync(59 * days)
  expect(fn).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(2 * days)
  expect(fn).toHaveBeenCalledOnce()
})

test('a long wait can be cancelled in its second slice', async () => {
  const fn = vi.fn()
  const days = 24 * 3600 * 1000
  const cancel = clock().later(60 * days, fn)
  await vi.advanceTimersByTimeAsync(30 * days)
  cancel()
  await vi.advanceTimersByTimeAsync(60 * days)
  expect(fn).not.toHaveBeenCalled()
})

test('ids are remembered up to a bound, and what repeats is remembered longer', () => {
  const ids = seen(3)
  expect(['a', 'b', 'c', 'a'].map(ids.add)).toEqual([true, true, true, false])
  expect(ids.add('d')).toBe(true)
  expect(ids.add('a')).toBe(false)
  expect(ids.add('b')).toBe(true)
  ids.clear()
  expect(ids.add('a')).toBe(true)
})

test('a handler that throws stops neither the others nor itself', () => {
  const { on, emit } = emitter()
  const errors = []
  const heard = []
  on('error', (error) => errors.push(error.message))
  on('a', () => {
    throw new Error('mine')
  })
  const off = on('a', (x) => heard.push(x))
  emit('a', 1)
  emit('a', 2)
  off()
  emit('a', 3)
  expect([heard, errors]).toEqual([[1, 2], ['mine', 'mine', 'mine']])
})

test('an error that nobody listens to goes to the console', () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => {})
  emitter().emit('error', new Error('x'))
  expect(said).toHaveBeenCalled()
})
