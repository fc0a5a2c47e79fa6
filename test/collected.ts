/** Counts of live tensors that don't depend on when the collector runs: what earlier tests left behind is collected first. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { memory } from '../ts/index.ts'

/** Collects garbage now, with the tensors whose objects are gone. */
export function collect(): void {
  const { Bun: bun } = globalThis as { Bun?: { gc(force: boolean): void } }
  if (bun) {
    bun.gc(true)
    return
  }
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

/** The tensors that are alive after a collection. */
export function collected(): number {
  collect()
  return memory().tensors
}
