// The last minutes as columns that charts can draw, and what percentiles the buckets allow.

/** Seconds over which a point of the percentiles looks back: one second alone says little. */
const WINDOW = 5

export class History {
  constructor({ columns, transports, bounds, rows, seconds }) {
    this.names = columns
    this.transports = transports
    this.bounds = bounds
    this.seconds = seconds
    this.columns = Object.fromEntries(columns.map((name) => [name, []]))
    this.p50 = []
    this.p99 = []
    rows.forEach((row) => this.push(row))
  }

  get length() {
    return this.columns.at.length
  }

  push(row) {
    const { columns } = this
    if (row[0] <= columns.at.at(-1)) return
    this.names.forEach((name, place) => columns[name].push(row[place]))
    const recent = this.counts(WINDOW)
    this.p50.push(quantile(recent, this.bounds, 0.5))
    this.p99.push(quantile(recent, this.bounds, 0.99))
    if (this.length > this.seconds) {
      for (const column of [...Object.values(columns), this.p50, this.p99]) column.shift()
    }
  }

  last(name) {
    return this.columns[name].at(-1)
  }

  /** What came together in the last seconds. */
  sum(name, seconds) {
    return this.columns[name].slice(-seconds).reduce((sum, value) => sum + value, 0)
  }

  /** Deliveries of the last seconds by bucket. */
  counts(seconds) {
    const sums = new Array(this.bounds.length + 1).fill(0)
    for (const counts of this.columns.toSocket.slice(-seconds)) {
      counts.forEach((count, bucket) => { sums[bucket] += count })
    }
    return sums
  }

  /** Unix seconds, as the charts have them. */
  get times() {
    return this.columns.at.map((at) => at / 1000)
  }
}

/** Milliseconds below which this share of deliveries lies, straight within a bucket; null for none. */
export function quantile(counts, bounds, share) {
  const all = counts.reduce((sum, count) => sum + count, 0)
  if (!all) return null
  let left = all * share
  for (const [bucket, count] of counts.entries()) {
    if (count >= left && count > 0) {
      const low = bucket ? bounds[bucket - 1] : 0
      const high = bounds[bucket] ?? low
      return low + (high - low) * (left / count)
    }
    left -= count
  }
  return bounds.at(-1)
}
