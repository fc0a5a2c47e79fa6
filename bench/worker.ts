/**
 * Runs one job in one mode for `run.ts`, in a process of its own: `worker.ts JOB DEVICE MODE THREADS`. The protocol is in `contestant.ts`.
 */
import { createInterface } from 'node:readline'
import { cuda, memory, setDefaultDevice, setNumThreads } from '../ts/index.ts'
import { floorsOf } from './floors.ts'
import { prepareMnist } from './mnist.ts'
import { type DeviceName, devices, isMnist, type JobName, jobsOn, type Mode, modes } from './names.ts'
import { profileOf } from './profile.ts'
import { settingsOf } from './settings.ts'
import { prepareSteps } from './steps.ts'
import type { Prepared } from './timing.ts'

const say = (message: object) => console.log(`\n@bench ${JSON.stringify(message)}`)

const device = devices.find(name => name === process.argv[3])
const job = device && jobsOn[device].find(name => name === process.argv[2])
const mode = modes.find(name => name === process.argv[4])
if (!device || !job || job === 'cliffs' || !mode) throw new Error('usage: worker.ts JOB DEVICE MODE THREADS')

/** Warms the job up. */
function prepare(job: JobName, device: DeviceName, mode: Mode): Prepared {
  if (device === 'cuda') cuda.setFloat32MatmulPrecision('high')
  if (isMnist(job)) return prepareMnist(job, mode, device)
  setDefaultDevice(device)
  return prepareSteps(settingsOf(job, device), mode)
}

setNumThreads(Number(process.argv[5] ?? 1))
say({
  version: process.versions.bun ? `bun ${process.versions.bun}` : `node ${process.versions.node}`,
  ...floorsOf(settingsOf(job, device)),
  ...(device === 'cuda' && { deviceName: cuda.getDeviceProperties().name }),
})
let prepared: Prepared | undefined
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'warm') {
    prepared = prepare(job, device, mode)
    say({})
  } else if (!prepared) throw new Error(`${line} before the warm-up`)
  else if (line === 'run') say({ ...(await prepared.round()), peakBytes: memory({ device }).peakBytes })
  else if (line === 'profile') say(await profileOf(prepared.few))
}
