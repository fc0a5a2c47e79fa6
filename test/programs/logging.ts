// Logs two metrics of each step one after the other, and now and then one that is new, until it is killed: `logging.ts FOLDER`.
// Each step is announced once it is logged.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { loggers } from '../../ts/index.ts'

const [, , folder = ''] = argv
const list = [new loggers.CSV(join(folder, 'a.csv')), new loggers.JSONL(join(folder, 'a.jsonl'))]
for (const logger of list) logger.start({ config: null, device: 'cpu', model: '', step: 0, resumed: false })
for (let step = 1; ; step++) {
  for (const logger of list) {
    const at = { step, epoch: 1, time: 0 }
    logger.logMetrics({ a: step / 7 }, at)
    logger.logMetrics({ b: -step, ...(step % 10 === 0 && { [`c${step}`]: 1 }) }, at)
  }
  writeSync(1, `${step}\n`)
}
