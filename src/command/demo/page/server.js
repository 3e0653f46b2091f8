// What the page asks of the demo's server besides the connection: tokens and listed statements.
// Answers promises. It must never send SQL.

async function ask(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error?.message ?? `the server answered ${response.status}`);
  return body;
}

/** A fresh token of "user" or "admin". */
export const fetchToken = async (who) => (await ask(`/demo/token/${who}`)).token;

/** Runs a listed statement; answers {rows, ms}. */
export const runStatement = (number) =>
  ask(`/demo/run/${number}`, { method: "POST", headers: { "content-type": "application/json" } });
