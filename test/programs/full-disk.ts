// Fills up a disk, or what a limit of file sizes leaves of one: `full-disk.ts FOLDER`, where 600 kB don't fit.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { WickError } from '../../ts/index.ts'
import { savable } from './savable.ts'

const full = (error: unknown) =>
  error instanceof WickError && error.code === 'BAD_FILE' && /ENOSPC|EFBIG/.test(error.message)

/** Saves a state that fits, then one that doesn't, over it: the old one is still there, and so is room for another. */
export async function fillUp(dir: string): Promise<void> {
  const [state, file] = [join(dir, 'state'), join(dir, 'model.safetensors')]
  const small = savable()
  small.set(1)
  await small.trainer.saveTrainingState(state)
  await small.trainer.saveCheckpoint(file)
  const large = savable(400)
  await assert.rejects(large.trainer.saveTrainingState(state), full)
  await assert.rejects(large.trainer.saveCheckpoint(file), full)
  const { trainer, numbers } = savable()
  await trainer.loadTrainingState(state)
  assert.deepEqual(numbers(), [1])
  await trainer.loadCheckpoint(file)
  assert.ok(![...readdirSync(dir), ...readdirSync(state)].some(name => name.endsWith('.tmp')))
  small.set(3)
  await small.trainer.saveTrainingState(state)
  await trainer.loadTrainingState(state)
  assert.deepEqual(numbers(), [3])
}

if (argv[1] && import.meta.url === pathToFileURL(argv[1]).href) await fillUp(argv[2] ?? '')
