/** Random networks under `capture` give the bits of eager mode: test/fuzz/networks.ts. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { collect } from './collected.ts'
import { compareNetwork } from './fuzz/networks.ts'

before(collect)

for (let first = 1; first <= 300; first += 30) {
  test(`networks ${first} to ${first + 29} run from plans as they run eagerly`, async () => {
    for (let seed = first; seed < first + 30; seed++) assert.equal(await compareNetwork(seed, 0), null)
  })
}

/** A broken rule of the engine, by its number there, and a network that notices. */
const mutants: [rule: string, mutant: number, seed: number][] = [
  ['a kernel writes to a place of its own shape', 30, 3],
  ['a failed launch leaves what came after it undone', 32, 208],
  ['versions count deferred writes', 33, 7],
  ['operands in memory are checked when the op is matched', 35, 20],
  ['gradient buffers are compared', 36, 205],
  ['leaves are compared', 37, 208],
  ['a cast belongs to a leaf', 38, 31],
]
for (const [rule, mutant, seed] of mutants) {
  test(`a network notices if this rule is broken: ${rule}`, async () => {
    assert.notEqual(await compareNetwork(seed, mutant), null)
  })
}
