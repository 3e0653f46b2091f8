// The lines between a test in Rust and a script beside this one: a JSON object each, `{"id","do",…}` in,
// `{"id","ok"}` or `{"id","error"}` out, several under way at once. Hands each to the command of its name.
// It must never judge or retry.
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'

export function obey(commands, end = () => {}) {
  async function answer(line) {
    const { id, do: name, ...rest } = JSON.parse(line)
    let answer
    try {
      answer = { id, ok: (await commands[name](rest)) ?? null }
    } catch (error) {
      answer = { id, error: inspect(error) }
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }

  const input = createInterface({ input: process.stdin })
  input.on('line', answer)
  input.on('close', async () => {
    await end()
    process.exit()
  })
}
