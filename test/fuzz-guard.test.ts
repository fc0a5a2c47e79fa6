/** Random programs in a process whose blocks of memory end at inaccessible pages: nothing reads or writes behind one. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { extname } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

// Compiled tests run compiled programs.
const main = fileURLToPath(new URL(`fuzz/main${extname(import.meta.url)}`, import.meta.url))
for (const [kind, count] of [
  ['steps', 40],
  ['networks', 60],
  ['trainers', 30],
  ['tasks', 20],
] as const) {
  test(`${count} ${kind} between guard pages`, () => {
    const env = { ...process.env, WICK_GUARD: '1' }
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [main, kind, '1001', String(count)], { env })
    assert.deepEqual({ status, signal }, { status: 0, signal: null }, `${stdout}${stderr}`)
  })
}
