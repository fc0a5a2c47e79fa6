/** Random networks under `capture` give the bits of eager mode: test/fuzz/networks.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareNetwork } from './fuzz/networks.ts'

for (let first = 1; first <= 300; first += 30) {
  test(`networks ${first} to ${first + 29} run from plans as they run eagerly`, async () => {
    for (let seed = first; seed < first + 30; seed++) assert.equal(await compareNetwork(seed, 0), null)
  })
}
