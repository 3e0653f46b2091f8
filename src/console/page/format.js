// Numbers as people read them, each with its unit, and the few ways this page makes elements.

const THIN = '\u202f'

export const TRANSPORTS = { websocket: 'WebSocket', sse: 'SSE', poll: 'long poll', socketio: 'Socket.IO' }

/** 1234567 → "1.2 M"; below ten thousand all digits. */
export function count(number) {
  if (number == null || Number.isNaN(number)) return '–'
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)}${THIN}M`
  if (number >= 1e4) return `${(number / 1e3).toFixed(number >= 1e5 ? 0 : 1)}${THIN}k`
  return number >= 100 || Number.isInteger(number) ? String(Math.round(number)) : number.toFixed(1)
}

/** Bytes, by thousands. */
export function bytes(number) {
  if (number == null) return '–'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000
    unit += 1
  }
  return `${unit && number < 10 ? number.toFixed(1) : Math.round(number)}${THIN}${units[unit]}`
}

/** Milliseconds: "0.4 ms", "12 ms", "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 4 h". */
export function time(ms) {
  if (ms == null || Number.isNaN(ms)) return '–'
  if (ms < 10) return `${Number(ms.toFixed(1))}${THIN}ms`
  if (ms < 1000) return `${Math.round(ms)}${THIN}ms`
  const seconds = ms / 1000
  if (seconds < 10) return `${Number(seconds.toFixed(1))}${THIN}s`
  if (seconds < 60) return `${Math.round(seconds)}${THIN}s`
  const parts = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]]
  const first = parts.findIndex(([, size]) => seconds >= size)
  const [unit, size] = parts[first]
  const [nextUnit, nextSize] = parts[first + 1]
  const rest = Math.floor((seconds % size) / nextSize)
  const whole = `${Math.floor(seconds / size)}${THIN}${unit}`
  return rest ? `${whole} ${rest}${THIN}${nextUnit}` : whole
}

export function percent(share) {
  if (share == null) return '–'
  const hundredth = share * 100
  return `${hundredth > 0 && hundredth < 10 ? Number(hundredth.toFixed(1)) : Math.round(hundredth)}${THIN}%`
}

/** The time of day of Unix milliseconds, where the reader is; before it the day, if that is not today. */
export function clock(ms) {
  const at = new Date(ms)
  const day = at.toDateString() === new Date().toDateString() ? '' : `${at.toLocaleDateString([], { day: 'numeric', month: 'short' })} `
  return day + at.toLocaleTimeString([], { hour12: false })
}

/** The other node that leads, if its name is known: the database's last answer may be from when this one led. */
export function otherLeader({ name }, leader) {
  const leads = leader?.name?.replace(/^rowcast /, '')
  return leads === name ? undefined : leads
}

/** "3 rooms", "1 room". */
export function plural(number, word, many = `${word}s`) {
  return `${count(number)} ${number === 1 ? word : many}`
}

/** An element with attributes; children are elements or text, never markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null && value !== false) element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...children.filter((child) => child != null && child !== false))
  return element
}

/** Sets text only where it differs: assistive technology is not told of what has not changed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export const byId = (id) => document.getElementById(id)
