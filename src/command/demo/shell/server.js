// What a page asks of the demo's server besides its connections: state, sign-ins, listed statements.
// Answers promises. It must never send SQL.

/** The system's base: everything of its own lies below. */
export const base = new URL(".", location.href).href;

/** What a browser says of it in words of its own; a name would stand before these. */
const away = () => {
  throw Object.assign(new Error("No answer: does the demo still run?"), { name: "" });
};

/** A fetch by itself waits for as long as the network is silent. */
async function ask(path, { patience = 10_000, ...options } = {}) {
  const signal = AbortSignal.timeout(patience); // ms
  const response = await fetch(new URL(path, base), { cache: "no-store", signal, ...options }).catch(away);
  // Half an answer is none.
  const body = await response.json().catch(response.ok ? away : () => ({}));
  if (!response.ok) throw new Error(body.error?.message ?? `the server answered ${response.status}`);
  return body;
}

const post = (path, options) => ask(path, { method: "POST", headers: { "content-type": "application/json" }, ...options });

/** Where the addresses of a view lie whose cookie is its own, as if it were a browser of its own. */
export const baseOf = (who) => new URL(`as/${who}/`, base).href;

/** Signs a view in: answers its JWT, or nothing where the server has set its session cookie. */
export const signIn = async (who) => (await post(`demo/sign-in/${who}`)).token;

/** What the server would render now: data, and the bookmark that belongs to it. */
export const fetchState = () => ask("demo/state");

/** Runs a listed statement; answers {rows, ms}, or {refused} in the words of PostgreSQL. It may wait for a lock. */
export const runStatement = (number) => post(`demo/run/${number}`, { patience: 60_000 });
