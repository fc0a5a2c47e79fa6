/** Plans against eager mode: random programs give the same bits and leave the same tensors alive, and each rule is needed. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { collect } from './collected.ts'
import { compare, emptyTotals } from './fuzz/run.ts'

before(collect)

const totals = emptyTotals()
for (let first = 1; first <= 300; first += 30) {
  test(`step programs ${first} to ${first + 29} run from plans as they run eagerly`, () => {
    for (let seed = first; seed < first + 30; seed++) assert.equal(compare(seed, 0, totals)?.text, undefined)
  })
}
test('the programs reach what they are there for', () => {
  for (const [what, count] of Object.entries(totals)) assert.ok(count > 50, `${what}: ${count}`)
})

/** A broken rule of the plan, by its number in the engine, and a program that notices. */
const mutants: [rule: string, mutant: number, seed: number][] = [
  ['gradient flags go back where a step leaves the plan', 1, 41],
  ['versions are rewound before launched entries are adopted', 2, 137],
  ['only known outputs may outlive a planned step', 3, 35],
  ['results that share memory are copied together', 5, 3],
  ['an input may not share memory with what the plan writes', 7, 728],
  ['the gradient mode is compared', 9, 54],
  ['gradient flags are compared', 10, 82],
  ['what is alive at a read is compared', 13, 27],
  ['a read waits for writes that were only matched', 14, 6],
  ['a launched backward uses up its tape', 24, 712],
  ['an input is the same tensor at every use', 25, 956],
  ['externals are compared by identity', 26, 1],
]
for (const [rule, mutant, seed] of mutants) {
  test(`a program notices if this rule is broken: ${rule}`, () => {
    assert.notEqual(compare(seed, mutant, emptyTotals()), null)
  })
}
