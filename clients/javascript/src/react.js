/**
 * `rowcast-client/react`: the connection in context, rooms and live state as long as a component is
 * mounted. Hands over to the connection. It must never begin anything while rendering: React
 * renders without mounting, and in strict mode mounts twice.
 */

import { createContext, createElement, useCallback, useContext, useEffect, useInsertionEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import { connect } from './index.js'

/** @typedef {import('./types.d.ts').Connection<any>} Connection */

const Rowcast = createContext(/** @type {Connection | undefined} */ (undefined))

/** @param {import('./react.d.ts').ProviderProps} props */
export function RowcastProvider({ connection, options, children }) {
  const latest = useLatest(options)
  // Not started, it holds nothing: one that is rendered and never mounted is just forgotten.
  const make = () => {
    if (!options || connection) return
    const { token } = options
    // The last render knows who has signed in.
    return connect({ ...options, token: typeof token === 'function' ? () => /** @type {any} */ (latest.current).token() : token, start: false })
  }
  const [own, setOwn] = useState(make)
  // Options may come later, with who signs in.
  if (!own && options && !connection) setOwn(make)
  useEffect(() => {
    own?.reconnect()
    return () => own?.close()
  }, [own])
  return createElement(Rowcast.Provider, { value: connection ?? own }, children)
}

export function useRowcast() {
  const connection = useContext(Rowcast)
  if (!connection) throw new Error('there is no RowcastProvider above, or it got neither connection nor options')
  return connection
}

/**
 * The last value, for functions that run later. Set as soon as it is committed: an event may come
 * before React runs other effects.
 * @template T
 * @param {T} value
 */
function useLatest(value) {
  const latest = useRef(value)
  useInsertionEffect(() => {
    latest.current = value
  })
  return latest
}

/**
 * @param {string | readonly string[]} rooms
 * @param {Record<string, (data: any, event: any) => void>} [handlers]
 */
export function useRoom(rooms, handlers = {}) {
  const connection = useRowcast()
  const latest = useLatest(handlers)
  const [outcome, setOutcome] = useState(/** @type {any} */ (undefined))
  const key = JSON.stringify(rooms)
  useEffect(() => {
    let mounted = true
    const names = JSON.parse(key)
    connection.subscribe(names).then(
      (answer) => mounted && setOutcome({ key, answer }),
      (error) => mounted && setOutcome({ key, answer: { outcome: 'failed', error } }),
    )
    const off = connection.on('*', (data, event) => {
      for (const name of [event.name, '*']) if (Object.hasOwn(latest.current, name)) latest.current[name]?.(data, event)
    })
    return () => {
      mounted = false
      off()
      connection.unsubscribe(names)
    }
  }, [connection, key, latest])
  return outcome?.key === key ? outcome.answer : undefined
}

/** @type {import('./types.d.ts').LiveSnapshot<any>} */
const LOADING = { state: undefined, status: 'loading' }
const getLoading = () => LOADING
const never = () => () => {}

/**
 * @param {import('./types.d.ts').Call} call
 * @param {string | readonly string[]} rooms
 * @param {(state: any, event: any) => any} reduce
 * @param {readonly unknown[]} [deps]
 */
export function useLive(call, rooms, reduce, deps = []) {
  const connection = useRowcast()
  const latest = useLatest({ call, reduce })
  const [held, hold] = useState(/** @type {any} */ (undefined))
  const key = JSON.stringify([typeof call === 'function' ? '' : call, rooms])
  // Another one for each state: what is held for another is not shown.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const wish = useMemo(() => ({ names: JSON.parse(key)[1] }), [connection, key, ...deps])
  useEffect(() => {
    const { call } = latest.current
    const ask = typeof call === 'function' ? () => /** @type {() => Promise<any>} */ (latest.current.call)() : call
    const live = connection.live(ask, wish.names, (state, event) => latest.current.reduce(state, event))
    hold({ wish, live })
    return () => {
      live.close()
      // Of a page that is hidden and shown again (Activity) it would seem live.
      hold(undefined)
    }
  }, [connection, latest, wish])
  const live = held?.wish === wish ? held.live : undefined
  const shown = useSyncExternalStore(live?.subscribe ?? never, live?.get ?? getLoading, getLoading)
  const reload = useCallback(() => live?.reload(), [live])
  return { ...shown, reload }
}

/** What a server shows, and a browser while it takes that over.
 * @type {import('./types.d.ts').StatusChange} */
const CONNECTING = { status: 'connecting', reason: '', transport: undefined }
const getConnecting = () => CONNECTING

export function useStatus() {
  const connection = useRowcast()
  const subscribe = useCallback((/** @type {() => void} */ fn) => connection.on('status', fn), [connection])
  return useSyncExternalStore(subscribe, connection.getStatus, getConnecting)
}
