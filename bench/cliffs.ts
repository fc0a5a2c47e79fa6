/**
 * The job `cliffs`: what mode `auto` costs where steps don't repeat, or are hard on plans, as ratios of CPU time by that of mode `off`.
 * There is no PyTorch in it. No pattern may cost more than `forEver` once it has gone on for a while, and no single step more than `once`.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** Milliseconds of a step: shorter ones can't be told from a collection of garbage in them. */
const shortest = 1
/** What no pattern may pass. */
const targets = { forEver: 1.1, once: 5 }

/** What a pattern costs: all steps after the first few, and the step that was the dearest beside mode `off`. */
export interface Cliff {
  job: 'cliffs'
  pattern: string
  forEver: number
  once: number
}

const program = join(import.meta.dirname, 'patterns.ts')
function ask<T>(runtime: string, args: string[]): T {
  const child = spawnSync(runtime, [program, ...args], { encoding: 'utf8' })
  if (child.status !== 0) throw new Error(`${args.join(', ')}: ${child.stderr}`)
  return JSON.parse(child.stdout) as T
}
const sum = (ms: number[]) => ms.reduce((a, b) => a + b, 0)

/** Measures the patterns one by one, both modes in turn, in processes of their own; the least of the rounds counts, step by step. */
export function* measureCliffs(
  runtime: string,
  rounds: number,
  patterns = ask<string[]>(runtime, []),
): Generator<Cliff> {
  for (const pattern of patterns) {
    const least: Record<string, number[]> = {}
    let warm = 0
    for (let round = 0; round < rounds; round++) {
      for (const mode of ['auto', 'off']) {
        const run = ask<{ warm: number; ms: number[] }>(runtime, [pattern, mode])
        warm = run.warm
        least[mode] = run.ms.map((ms, i) => Math.min(ms, least[mode]?.[i] ?? ms))
      }
    }
    const { auto = [], off = [] } = least
    const rest = off.slice(warm)
    const usual = Math.max(sum(rest) / rest.length, shortest)
    yield {
      job: 'cliffs',
      pattern,
      forEver: sum(auto.slice(warm)) / sum(rest),
      // Of the first step, which compiles JavaScript and fills pools, both modes have the cost.
      once: Math.max(...auto.slice(1).map((ms, i) => ms / Math.max(off[i + 1] ?? 0, usual))),
    }
  }
}

/** A line for people. */
export function cliffInWords({ pattern, forEver, once }: Cliff): string {
  const missed = forEver > targets.forEver || once > targets.once
  return `cliffs, ${pattern}: ${forEver.toFixed(2)}x eager for ever, ${once.toFixed(1)}x once${missed ? ': too much' : ''}`
}
