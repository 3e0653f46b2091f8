// The charts: each a card with a legend that names what is under the pointer, or else what is now.
// Lines differ by dash as well as by colour.

import { TRANSPORTS, bytes, byId, count, make, plural, say, time } from './format.js'
import { quantile } from './history.js'

const { uPlot } = globalThis
const HEIGHT = 168
/** Of the histogram: what happened lately, without what was ten minutes ago. */
const LATELY = 120
const together = uPlot.sync('console')

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
const faint = (name, share) => {
  const [r, g, b] = colour(name).match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16))
  return `rgb(${r} ${g} ${b} / ${share})`
}

/** What each chart draws: label, colour, dash, and where its values come from. */
const CHARTS = [
  {
    id: 'rate', title: 'Events and deliveries', unit: count, hint: 'per second',
    lines: [
      { label: 'deliveries', tone: 'blue', fill: 0.13, of: (h) => h.columns.deliveries },
      { label: 'events', tone: 'accent', dash: [], of: (h) => h.columns.events },
    ],
  },
  {
    id: 'delay', title: 'Commit to socket', unit: time, hint: 'time, in the last 5 s', log: true,
    lines: [
      { label: '99 of 100 within', tone: 'orange', dash: [5, 4], of: (h) => h.p99 },
      { label: 'half within', tone: 'accent', of: (h) => h.p50 },
    ],
  },
  { id: 'histogram', title: 'How long deliveries took', hint: 'in the last 2 min', histogram: true },
  {
    id: 'open', title: 'Connections', unit: count, hint: 'by transport',
    lines: [
      { label: TRANSPORTS.websocket, tone: 'accent', fill: 0.12, of: (h) => h.columns.websocket },
      { label: TRANSPORTS.sse, tone: 'blue', dash: [6, 3], of: (h) => h.columns.sse },
      { label: TRANSPORTS.poll, tone: 'orange', dash: [2, 3], of: (h) => h.columns.poll },
      { label: TRANSPORTS.socketio, tone: 'purple', dash: [9, 3, 2, 3], of: (h) => h.columns.socketio },
    ],
  },
  {
    id: 'queues', title: 'Waiting in queues', unit: bytes, hint: 'bytes, of all readers',
    lines: [{ label: 'waiting', tone: 'purple', fill: 0.16, of: (h) => h.columns.queueBytes }],
  },
  {
    id: 'lag', title: 'Since the log was read', unit: time, hint: 'up to 1 s is rest',
    lines: [
      { label: 'since the last look', tone: 'accent', fill: 0.12, of: (h) => h.columns.lag },
    ],
  },
]

export class Charts {
  #history = null
  #charts = []

  constructor() {
    const place = byId('charts')
    for (const chart of CHARTS) {
      const legend = make('ul', { class: 'legend' })
      const canvas = make('div', { class: 'canvas', role: 'img' })
      place.append(make('section', { class: 'card chart', 'data-chart': chart.id, 'aria-label': chart.title },
        make('header', { class: 'card-head' }, make('h2', {}, chart.title, make('span', { class: 'hint' }, chart.hint)), legend),
        canvas))
      this.#charts.push({ ...chart, legend, canvas, plot: null })
    }
    new ResizeObserver(() => this.#resize()).observe(place)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#rebuild())
  }

  /** Draws another history. */
  show(history) {
    this.#history = history
    this.#rebuild()
  }

  /** Draws what has been added. */
  draw() {
    for (const chart of this.#charts) {
      chart.plot?.setData(this.#data(chart))
      if (chart.plot && chart.plot.cursor.idx == null) this.#tell(chart, null)
      this.#describe(chart)
    }
  }

  #data(chart) {
    const history = this.#history
    if (chart.histogram) {
      const counts = history.counts(LATELY)
      return [counts.map((_, bucket) => bucket), counts]
    }
    return [history.times, ...chart.lines.map((line) => line.of(history))]
  }

  #rebuild() {
    if (!this.#history) return
    for (const chart of this.#charts) {
      chart.plot?.destroy()
      const size = { width: Math.max(chart.canvas.clientWidth, 120), height: HEIGHT }
      const hooks = { setCursor: [(plot) => this.#tell(chart, plot.cursor.idx)] }
      const options = chart.histogram ? histogram(this.#history.bounds) : lines(chart, this.#history)
      chart.plot = new uPlot({ ...size, hooks, legend: { show: false }, ...options }, this.#data(chart), chart.canvas)
      this.#tell(chart, null)
      this.#describe(chart)
    }
  }

  #resize() {
    for (const { plot, canvas } of this.#charts) {
      if (plot && canvas.clientWidth && plot.width !== canvas.clientWidth) {
        plot.setSize({ width: canvas.clientWidth, height: HEIGHT })
      }
    }
  }

  /** The legend: values under the pointer, or the latest. */
  #tell(chart, index) {
    const entries = chart.histogram ? this.#histogramLegend(index) : chart.lines.map((line) => {
      const values = line.of(this.#history)
      return [line.tone, line.label, chart.unit(values[index ?? values.length - 1]), line.dash]
    })
    if (chart.legend.children.length !== entries.length) {
      chart.legend.replaceChildren(...entries.map(([tone, , , dash]) =>
        make('li', { 'data-tone': tone, 'data-dashed': dash?.length ? true : null },
          make('i', { 'aria-hidden': 'true' }), make('span'), ' ', make('b'))))
    }
    entries.forEach(([, label, value], place) => {
      const [, name, number] = chart.legend.children[place].children
      say(name, label)
      say(number, value)
    })
  }

  #histogramLegend(index) {
    const { bounds } = this.#history
    const counts = this.#history.counts(LATELY)
    if (index != null) {
      const range = index < bounds.length ? `up to ${time(bounds[index])}` : `above ${time(bounds.at(-1))}`
      return [['accent', range, plural(counts[index], 'delivery', 'deliveries')]]
    }
    return [['half', 0.5], ['95 of 100', 0.95], ['99 of 100', 0.99]].map(([label, share]) =>
      ['plain', label, time(quantile(counts, bounds, share))])
  }

  /** In words, for those who do not see it. */
  #describe(chart) {
    const entries = [...chart.legend.children].map((entry) => entry.textContent.trim())
    chart.canvas.setAttribute('aria-label', `${chart.title}, ${chart.hint}: ${entries.join(', ')}`)
  }
}

/** On a logarithmic axis the whole powers of ten alone: ten lines to each would hide the curves. */
const decades = (_plot, _axis, low, high) => {
  const found = []
  for (let power = Math.ceil(Math.log10(low)); power <= Math.log10(high); power += 1) found.push(10 ** power)
  return found
}

const axis = (more) => ({
  stroke: colour('soft'), font: '11px system-ui, sans-serif', gap: 5,
  grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, ...more,
})

function lines(chart, history) {
  const [least, most] = [60, history.seconds]
  const window = () => {
    const last = history.last('at') / 1000
    const span = Math.min(most, Math.max(least, last - history.columns.at[0] / 1000))
    return [last - span, last]
  }
  const range = (_plot, _low, high) => chart.log
    ? [0.1, Math.max(100, 10 ** Math.ceil(Math.log10((high || 1) * 1.01)))]
    : [0, niceTop(high, chart)]
  return {
    padding: [8, 20, 0, 0],
    cursor: { sync: { key: together.key }, y: false, points: { size: 7 } },
    scales: { x: { range: history.length ? window : undefined }, y: { range, distr: chart.log ? 3 : 1 } },
    axes: [
      axis({ size: 24, space: 70, grid: { show: false }, values: (_plot, splits) => splits.map(timeOfDay) }),
      axis({
        size: 58, space: 34, ...(chart.log && { splits: decades, filter: (_plot, splits) => splits }),
        values: (_plot, splits) => splits.map((value) => chart.unit(value)),
      }),
    ],
    series: [{}, ...chart.lines.map((line) => ({
      stroke: colour(line.tone), width: 1.75, dash: line.dash, fill: line.fill && faint(line.tone, line.fill),
      spanGaps: false, points: { show: false },
    }))],
  }
}

/** Whole steps, so that a quiet second does not look like a mountain. */
function niceTop(high, chart) {
  const least = { queues: 10_000, lag: 1000 }[chart.id] ?? 5
  return Math.max(least, (high || 0) * 1.12)
}

function timeOfDay(seconds) {
  const date = new Date(seconds * 1000)
  const withSeconds = date.getSeconds() !== 0
  return date.toLocaleTimeString([], { hour12: false, hour: '2-digit', minute: '2-digit', ...(withSeconds && { second: '2-digit' }) })
}

function histogram(bounds) {
  const label = (bucket) => bucket < bounds.length ? time(bounds[bucket]) : `> ${time(bounds.at(-1))}`
  const every = (plot) => Math.ceil(bounds.length / Math.max(2, plot.width / 62))
  return {
    padding: [8, 20, 0, 0],
    cursor: { y: false, x: false, points: { show: false } },
    scales: {
      x: { time: false, range: () => [-0.6, bounds.length + 0.6] },
      y: { range: (_plot, _low, high) => [0, Math.max(5, (high || 0) * 1.08)] },
    },
    axes: [
      axis({
        size: 24, grid: { show: false },
        splits: (plot) => bounds.map((_, bucket) => bucket).filter((bucket) => bucket % every(plot) === 0),
        values: (_plot, splits) => splits.map(label),
      }),
      axis({ size: 58, space: 34, values: (_plot, splits) => splits.map(count) }),
    ],
    series: [{}, {
      stroke: colour('accent'), fill: faint('accent', 0.55), width: 0, points: { show: false },
      paths: uPlot.paths.bars({ size: [0.82, 48], radius: 0.12 }),
    }],
  }
}

