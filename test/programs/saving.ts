// Saves training states over and over, with other contents each time, until it is killed: `saving.ts FOLDER`. Its parent checks
// that what is left can be loaded. Each save is announced on stdout when it is durable.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { savable } from './savable.ts'

const [, , folder = ''] = argv
const { trainer, set } = savable()
for (let n = 1; ; n++) {
  set(n)
  // Over the same one, and into a new one.
  await trainer.saveTrainingState(join(folder, 'same'), { extra: { n } })
  await trainer.saveCheckpoint(join(folder, 'model.safetensors'), { extra: { n } })
  writeSync(1, `${n}\n`)
}
