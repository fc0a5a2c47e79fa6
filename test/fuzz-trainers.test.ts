/** Random Trainer programs give the bits of eager mode: test/fuzz/trainers.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareTrainer } from './fuzz/trainers.ts'

for (let first = 1; first <= 300; first += 30) {
  test(`Trainer programs ${first} to ${first + 29} run from plans as they run eagerly`, async () => {
    for (let seed = first; seed < first + 30; seed++) assert.equal(await compareTrainer(seed, 0), null)
  })
}

test('a Trainer program notices if this rule is broken: a read of memory waits for deferred writes', async () => {
  assert.notEqual(await compareTrainer(104, 34), null)
})
