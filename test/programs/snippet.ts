/** Runs the compiled snippet at `WICK_SNIPPET`, a file URL. */
import { readFileSync } from 'node:fs'
import { makeContext } from './snippet-context.ts'

const url = new URL(process.env.WICK_SNIPPET ?? '')
const { default: snippet } = await import(url.href)
await snippet(makeContext(readFileSync(url, 'utf8')))
