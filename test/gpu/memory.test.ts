/** Memory stays flat over many steps on a GPU, the driver's count of it too: `../programs/memory.ts` with its tensors there. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Sample } from '../programs/memory.ts'

const program = join(import.meta.dirname, '../programs/memory.ts')
const preload = join(import.meta.dirname, 'preload.ts')

for (const how of ['loop', 'captured', 'full', 'trainer']) {
  test(`${how}: thousands of steps keep tensors, their bytes and the device's memory flat`, async () => {
    const args = ['--preload', preload, program, how]
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 })
    const { before, after }: { before: Sample; after: Sample } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
    assert.equal(after.tensors, before.tensors, 'live tensors')
    assert.equal(after.bytes, before.bytes, 'live bytes')
    assert.equal(after.reservedBytes, before.reservedBytes, 'bytes held for reuse')
    assert.ok(before.deviceMiB !== undefined && after.deviceMiB !== undefined)
    const onDevice = after.deviceMiB - before.deviceMiB
    assert.ok(onDevice <= 32, `the device's memory grew by ${onDevice} MiB`)
    const onHost = (after.rss - before.rss) / 2 ** 20
    assert.ok(onHost < 64, `the resident set grew by ${onHost.toFixed(1)} MiB`)
  })
}
