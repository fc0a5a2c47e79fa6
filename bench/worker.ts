/** Runs one job in one mode for `run.ts`, in a process of its own: `worker.ts JOB MODE THREADS`. The protocol is in `contestant.ts`. */
import { createInterface } from 'node:readline'
import { memory, setNumThreads } from '../ts/index.ts'
import { prepare } from './jobs.ts'
import { jobNames, modes } from './names.ts'

const say = (message: object) => console.log(`\n@bench ${JSON.stringify(message)}`)

const job = jobNames.find(name => name === process.argv[2])
const mode = modes.find(name => name === process.argv[3])
if (!job || !mode) throw new Error('usage: worker.ts JOB MODE THREADS')

setNumThreads(Number(process.argv[4] ?? 1))
const round = await prepare(job, mode)
say({ ready: process.versions.bun ? `bun ${process.versions.bun}` : `node ${process.versions.node}` })
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === 'run') say({ ...(await round()), peakBytes: memory().peakBytes })
}
