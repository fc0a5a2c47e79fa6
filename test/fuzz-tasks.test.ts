/** Random tasks that share a process give the bits that each gives alone: test/fuzz/tasks.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareTasks } from './fuzz/tasks.ts'

for (let first = 1; first <= 300; first += 30) {
  test(`programs of tasks ${first} to ${first + 29} run beside each other as each runs alone`, async () => {
    for (let seed = first; seed < first + 30; seed++) assert.equal(await compareTasks(seed, 0), null)
  })
}
