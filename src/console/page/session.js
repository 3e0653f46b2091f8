// The visitor's token: from the field, or once from the URL's fragment. It stays in this tab, and
// only as long as the page where a browser forbids its storage.

const KEY = 'rowcast-console-token'

let token = stored((storage) => storage.getItem(KEY))

/** What `use` makes of the tab's storage, which to name may throw already. */
function stored(use) {
  try {
    return use(sessionStorage)
  } catch {
    return null
  }
}

/** Takes `#token=…` out of the URL at once: it would stay in the history, and be copied with it. */
export function takeFromUrl() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token')
  if (!given) return
  keep(given)
  history.replaceState(null, '', location.pathname + location.search)
}

export function keep(given) {
  token = given.trim().replace(/^bearer\s+/i, '')
  stored((storage) => storage.setItem(KEY, token))
}

/** Whether there was one. */
export function forget() {
  const had = Boolean(token)
  token = null
  stored((storage) => storage.removeItem(KEY))
  return had
}

/** Headers of a request; without a token the browser's cookie may do. */
export function headers() {
  return token ? { authorization: `Bearer ${token}` } : {}
}
