/**
 * Server-sent events out of text that arrives in pieces, as the HTML standard has it.
 * Hands each block to a function. It must never deliver a block that was cut before its end, nor
 * one without data as an event.
 */

/**
 * A block. `id` is missing unless this very block has one: an event without it can't be resumed.
 * @typedef {{event: string, data?: string, id?: string, retry?: number}} Block
 */

/** @param {(block: Block) => void} take */
export function parser(take) {
  let rest = ''
  let first = true
  let afterReturn = false
  /** @type {Block} */
  let block = { event: 'message' }

  /** @param {string} line */
  function read(line) {
    if (!line) {
      const done = block
      block = { event: 'message' }
      if (Object.keys(done).length > 1 || done.event !== 'message') take(done)
      return
    }
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1))
    if (field === 'data') block.data = block.data === undefined ? value : `${block.data}\n${value}`
    else if (field === 'event') block.event = value || 'message'
    else if (field === 'id' && !value.includes('\0')) block.id = value
    else if (field === 'retry' && /^\d+$/.test(value)) block.retry = Number(value)
  }

  /** Takes the next piece of text, cut anywhere. */
  return (/** @type {string} */ piece) => {
    if (first && piece) {
      first = false
      if (piece[0] === '\uFEFF') piece = piece.slice(1)
    }
    // A line feed that belongs to a carriage return at the end of the piece before.
    if (piece) {
      if (afterReturn && piece[0] === '\n') piece = piece.slice(1)
      afterReturn = piece.endsWith('\r')
    }
    const lines = piece.split(/\r\n|\n|\r/)
    lines[0] = rest + lines[0]
    rest = /** @type {string} */ (lines.pop())
    lines.forEach(read)
  }
}
