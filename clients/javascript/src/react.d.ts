/** What an application sees of `rowcast-client/react`. */
import type { ReactNode } from 'react'
import type { Answer, Call, Connection, EventOf, LiveSnapshot, Options, RowcastEvent, StatusChange, Subscribed } from './types.d.ts'

export interface ProviderProps {
  /** A connection that the application made, and closes. */
  connection?: Connection<any> | undefined
  /** Or its options: then it lives as long as the provider. The first ones count, but for a `token`
   * that is a function: the last is asked. */
  options?: Options | undefined
  children?: ReactNode
}

/** Gives a connection to all hooks below. */
export declare function RowcastProvider(props: ProviderProps): ReactNode

/** The connection of the provider above. Throws if there is none. */
export declare function useRowcast<Events extends object = Record<string, any>>(): Connection<Events>

/** Handlers by the name of the event; `*` for all. */
export type Handlers<Events extends object> = {
  [Name in keyof Events & string]?: ((data: Events[Name], event: RowcastEvent<Name, Events[Name]>) => void) | undefined
} & { '*'?: ((data: Events[keyof Events], event: EventOf<Events>) => void) | undefined }

/** Is in rooms while mounted, with handlers that may change at each render. They hear events of all
 * rooms of the connection: tell them apart by name or data. Undefined until the server answered. */
export declare function useRoom<Events extends object = Record<string, any>>(
  rooms: string | readonly string[],
  handlers?: Handlers<Events>,
): Subscribed | { outcome: 'failed'; error: Error } | undefined

/** State that follows while mounted; loaded anew when the call's name and arguments, the rooms or `deps`
 * change. Of a call that is a function of yours, the last render's is called. */
export declare function useLive<State = any, Events extends object = Record<string, any>>(
  call: Call<State>,
  rooms: string | readonly string[],
  reduce: (state: State, event: EventOf<Events>) => State,
  deps?: readonly unknown[],
): LiveSnapshot<State> & { reload: () => void }

/** How the connection is; changes with it. */
export declare function useStatus(): StatusChange

export type { Answer, Call, Connection, LiveSnapshot, Options, StatusChange, Subscribed }
