// The visitor's token: from the field, or once from the URL's fragment. It stays in this tab.

const KEY = 'rowcast-console-token'

/** Takes `#token=…` out of the URL at once: it would stay in the history, and be copied with it. */
export function takeFromUrl() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (!token) return
  keep(token)
  history.replaceState(null, '', location.pathname + location.search)
}

export function keep(token) {
  sessionStorage.setItem(KEY, token.trim().replace(/^bearer\s+/i, ''))
}

export function forget() {
  sessionStorage.removeItem(KEY)
}

/** Headers of a request; without a token the browser's cookie may do. */
export function headers() {
  const token = sessionStorage.getItem(KEY)
  return token ? { authorization: `Bearer ${token}` } : {}
}
