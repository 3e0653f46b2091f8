/** What an application sees of `rowcast-client`; the modules beside it are checked against this. */

/** A token, or a function that gives a fresh one; it is called whenever one is needed. */
export type TokenSource = string | (() => string | Promise<string>)

/** `connecting` until first welcomed; `live` when all that was missed has been delivered;
 * `recovering` while a lost link or what was missed is being brought back; `offline` when no
 * transport reaches the server, or after `close()`; `refused` when it would be wrong to try again. */
export type Status = 'connecting' | 'live' | 'recovering' | 'offline' | 'refused'

export type TransportName = 'websocket' | 'sse' | 'poll'

export interface Timers {
  /** Milliseconds since 1970. */
  now?: (() => number) | undefined
  /** 0 ≤ x < 1, for the jitter of pauses. */
  random?: (() => number) | undefined
}

/** As much of `localStorage` as is needed. */
export interface Storage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

export interface Options {
  /** The server's base: `http(s)://host[/path]`. */
  url: string | URL
  /** Without it a cookie says who it is. */
  token?: TokenSource | undefined
  /** Rooms to be in from the start, besides the home rooms. */
  rooms?: readonly string[] | undefined
  /** A bookmark to begin from: what came after it is delivered first. */
  since?: string | undefined
  /** A durable name of this user's: without `since` it resumes from what was acknowledged last. */
  reader?: string | undefined
  /** Begin at once; default true. With false, `reconnect()` begins. */
  start?: boolean | undefined
  /** Which to try, best first; default all: `['websocket', 'sse', 'poll']`. */
  transports?: readonly TransportName[] | undefined
  /** Where the transport that worked is remembered; default `localStorage`; null: nowhere. */
  storage?: Storage | null | undefined
  /** Milliseconds within which a link must have its token and be welcomed; default 10000. */
  connectTimeout?: number | undefined
  /** Milliseconds that a call may take, its token included; default 15000. */
  callTimeout?: number | undefined
  /** Milliseconds that the first pause before a reconnect lasts at most; default 500. */
  retryMin?: number | undefined
  /** Milliseconds that any such pause lasts at most; default 30000. */
  retryMax?: number | undefined
  /** Milliseconds that a link must last for the pauses to begin small again; default 5000. */
  stableAfter?: number | undefined
  /** Milliseconds until a better transport is tried again, at first; default 15000. */
  upgradeMin?: number | undefined
  /** The same at most; it doubles each time; default 900000. */
  upgradeMax?: number | undefined
  /** Seconds that a poll waits at the server; default 25. */
  pollWait?: number | undefined
  /** Ids of events that are remembered so that none comes twice; default 10000. */
  remember?: number | undefined
  WebSocket?: unknown
  fetch?: typeof fetch | undefined
  timers?: Timers | undefined
}

/** An event as it came. `id`, `bookmark`: missing for events of NOTIFY channels.
 * `at`, `channel`: missing over server-sent events. */
export interface RowcastEvent<Name extends string = string, Data = any> {
  type: 'event'
  name: Name
  data: Data
  id?: string
  bookmark?: string
  channel?: string
  /** UTC with microseconds. */
  at?: string
}

/** An application's map of event names to payloads. */
export type EventOf<Events extends object> = {
  [Name in keyof Events & string]: RowcastEvent<Name, Events[Name]>
}[keyof Events & string]

/** Events of these rooms may be missing: read your data anew. `['*']` means all of yours. */
export interface Gap {
  rooms: string[]
  reason: string
  bookmark?: string
}

export interface StatusChange {
  status: Status
  /** For people to read; empty while live. */
  reason: string
  transport?: TransportName
}

export interface Refused {
  room: string
  code: string
  message: string
}

export interface Subscribed {
  /** `live`: from here on; `recovered`: all since the bookmark was or will be delivered; `gap`: not. */
  outcome: 'live' | 'recovered' | 'gap'
  /** Those that were joined. */
  rooms: string[]
  refused: Refused[]
  /** Why there is a gap. */
  reason?: string
  bookmark?: string
}

export interface Answer<Data = any> {
  data: Data
  /** Taken in the same snapshot as the data. */
  bookmark: string
}

/** An Error with a `code`: one of the server's, or `disconnected`, `timeout`, `closed`, `token`. */
export declare class RowcastError extends Error {
  constructor(code: string, message?: string, retryAfter?: number)
  code: string
  /** Milliseconds. */
  retryAfter?: number
}

/** What goes to `error` handlers: a RowcastError (with `room` if one was refused or taken away), or
 * whatever a handler of yours has thrown. */
export type ReportedError = Error & { code?: string; room?: string }

/** How to load state: a function of the server's with its arguments, or a function of yours that
 * brings data and the bookmark of the same snapshot. */
export type Call<Data = any> =
  | string
  | readonly [name: string, args?: object]
  | (() => Promise<Answer<Data>>)

export interface LiveSnapshot<State> {
  /** Undefined until first loaded. */
  state: State | undefined
  /** `loading` also while it is loaded anew after a gap; `failed` until `reload()`, also when one of its
   * rooms was refused or taken away: the error has its `room`. */
  status: 'loading' | 'live' | 'failed'
  error?: Error
}

export interface Live<State> extends LiveSnapshot<State> {
  /** Calls the listener after each change; returns what takes it away. */
  subscribe(listener: () => void): () => void
  /** The same object until something changes, as React's useSyncExternalStore wants it. */
  get(): LiveSnapshot<State>
  /** Loads anew. */
  reload(): void
  /** Leaves the rooms. */
  close(): void
}

/** Without a map, whatever its events: what takes a `Connection` takes each. */
export interface Connection<Events extends object = any> {
  readonly status: Status
  readonly reason: string
  readonly transport: TransportName | undefined
  /** Where the stream stands: the last bookmark received. */
  readonly bookmark: string | undefined
  /** The claim `sub`. */
  readonly user: string | null | undefined
  /** Events that came again and were left out. */
  readonly duplicates: number
  on(name: 'status', fn: (change: StatusChange) => void): () => void
  on(name: 'gap', fn: (gap: Gap) => void): () => void
  on(name: 'error', fn: (error: ReportedError) => void): () => void
  on(name: '*', fn: (data: Events[keyof Events], event: EventOf<Events>) => void): () => void
  on<Name extends keyof Events & string>(
    name: Name,
    fn: (data: Events[Name], event: RowcastEvent<Name, Events[Name]>) => void,
  ): () => void
  /** Joins rooms; each `subscribe` is undone by one `unsubscribe`, whatever was answered. */
  subscribe(rooms: string | readonly string[], options?: { since?: string | undefined }): Promise<Subscribed>
  unsubscribe(rooms: string | readonly string[]): void
  /** Calls a function that the database lists as callable. Rejects with a RowcastError. */
  call<Data = any>(name: string, args?: object, options?: { timeout?: number | undefined }): Promise<Answer<Data>>
  /** Stores how far the `reader` has come: an event that was dealt with, a gap after which data was
   * read anew, or any bookmark; it stands for all before. Resolves with the stored bookmark. While the
   * server can't be reached the last is kept, and told when it can. */
  ack(what: string | { bookmark?: string }): Promise<string>
  /** State that follows: loaded by a call, then changed by each event from exactly there. */
  live<State = any>(
    call: Call<State>,
    rooms: string | readonly string[],
    reduce: (state: State, event: EventOf<Events>) => State,
  ): Live<State>
  /** Status, reason and transport: the same object until one of them changes. */
  getStatus(): StatusChange
  /** Begins anew after `refused` or `close()`: the token is asked for again. */
  reconnect(): void
  /** Ends it. Rooms and handlers stay, for `reconnect()`. */
  close(): void
}

export declare function connect<Events extends object = Record<string, any>>(options: Options): Connection<Events>
