import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { extname } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Sample } from './programs/memory.ts'

const extension = extname(fileURLToPath(import.meta.url))
const program = fileURLToPath(new URL(`./programs/memory${extension}`, import.meta.url))

async function train(how: string): Promise<{ before: Sample; after: Sample }> {
  const flags = process.versions.bun ? [] : ['--expose-gc']
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, how], { maxBuffer: 2 ** 26 })
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
}

function assertFlat({ before, after }: { before: Sample; after: Sample }) {
  assert.equal(after.tensors, before.tensors, 'live tensors')
  assert.equal(after.bytes, before.bytes, 'live bytes')
  const growth = (after.rss - before.rss) / 2 ** 20
  assert.ok(growth < 10, `the resident set grew by ${growth.toFixed(1)} MiB`)
}

test('20,000 steps of a hand-written loop keep memory flat', async () => assertFlat(await train('loop')))

test('20,000 captured steps keep memory flat', async () => assertFlat(await train('captured')))

test('a Trainer run of 100 epochs keeps memory flat', async () => assertFlat(await train('trainer')))

for (const how of ['unscoped', 'synchronous']) {
  test(`a loop as in PyTorch, ${how}, keeps within 256 MiB of what it works with`, async () => {
    const { before, after } = await train(how)
    const most = ((after.peakBytes ?? Number.POSITIVE_INFINITY) - before.bytes) / 2 ** 20
    assert.ok(most < 256, `${most.toFixed(1)} MiB were alive beyond ${(before.bytes / 2 ** 20).toFixed(1)} MiB`)
  })
}

test('models, optimizers and captures that are disposed of give everything back', async () => {
  const { before, after } = await train('disposed')
  assert.equal(after.bytes, before.bytes, 'live bytes')
  assert.equal(after.tensors, before.tensors, 'live tensors')
})

test('models, optimizers, captures and Trainers that are let go give their memory back', async () => {
  const { before, after } = await train('dropped')
  // A collector that scans the stack may keep one or two of 40 models, of a MiB each.
  const growth = (after.bytes - before.bytes) / 2 ** 20
  assert.ok(growth < 4, `live bytes grew by ${growth.toFixed(1)} MiB`)
})
