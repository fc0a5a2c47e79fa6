/** Counts of live tensors that don't depend on when the collector runs: what earlier tests left behind is collected first. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { memory } from '../ts/index.ts'

/** Frees what earlier tests of the process left to the garbage collector: it would be missing from a later count. */
export function collect(): void {
  const { Bun: bun } = globalThis as { Bun?: { gc(force: boolean): void } }
  setFlagsFromString('--expose-gc')
  const gc = bun ? () => bun.gc(true) : (runInNewContext('gc') as () => void)
  for (let before = -1; before !== memory().tensors; ) {
    before = memory().tensors
    gc()
  }
}

/** The tensors that are alive after a collection. */
export function collected(): number {
  collect()
  return memory().tensors
}
