// Saves training states over and over, with other contents each time, until it is killed or has saved COUNT times:
// `saving.ts FOLDER [COUNT]`. Its parent checks that what is left can be loaded. Each save is announced when it is durable.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { parentPort } from 'node:worker_threads'
import { savable } from './savable.ts'

const [, , folder = '', count = 'Infinity'] = argv
const { trainer, set } = savable()
for (let n = 1; n <= Number(count); n++) {
  set(n)
  // Over the same one, and into a new one.
  await trainer.saveTrainingState(join(folder, 'same'), { extra: { n } })
  await trainer.saveCheckpoint(join(folder, 'model.safetensors'), { extra: { n } })
  if (parentPort) parentPort.postMessage(n)
  else writeSync(1, `${n}\n`)
}
