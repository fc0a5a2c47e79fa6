/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util'
import {
  type AnyJobName,
  type DeviceName,
  devices,
  jobsOn,
  type Mode,
  modes,
  type TorchMode,
  torchModes,
} from './names.ts'

export interface Options {
  device: DeviceName
  jobs: AnyJobName[]
  threads: number[]
  modes: Mode[]
  /** A Python with torch, torchvision and pytorch-accelerated; without it only wick runs. */
  torch: string | undefined
  torchModes: TorchMode[]
  /** The JavaScript runtime for wick's side. */
  runtime: string
  repeats: number
  /** Seconds that a contestant may take to start, to warm up, or for a round. */
  limitSeconds: number
  /** Measure with PyTorch what the device can do at best. */
  limits: boolean
  /** After the rounds, profile some steps of wick and put where their time goes into the results. */
  profile: boolean
  /** Print results as JSON lines only. */
  json: boolean
  /** A file that gets the results as a JSON array. */
  out: string | undefined
}

const usage = `npm run bench -- [options]
  --device NAME        ${devices.join(' or ')} (default: cpu)
  --jobs NAMES         on cpu any of ${jobsOn.cpu.join(', ')},
                       on cuda any of ${jobsOn.cuda.join(', ')} (default: all)
  --threads 1,2        thread counts (default: 1)
  --modes NAMES        wick's modes, any of ${modes.join(', ')} (default: all)
  --torch PYTHON       also run PyTorch's twin with this Python, in turn, and print the ratio
  --torch-modes NAMES  PyTorch's modes, any of ${torchModes.join(', ')} (default: eager, on cuda also best)
  --runtime PATH       the Bun or Node that runs wick (default: the one running this)
  --repeats N          rounds of each; the median counts (default: 5)
  --time-limit S       seconds that a contestant may take to start, to warm up or for a round (default: 600)
  --limits             on cuda: measure the device's matmul and copy rates with PyTorch, and print the share of them that each job reaches
  --profile            also where the time of wick's steps goes, op by op, in the results
  --json               only JSON lines on stdout
  --out FILE           write the results to a file, e.g. bench/results/DEVICE-DATE.json`

/** Reads the arguments; throws an error that ends with the usage. */
export function readOptions(args: string[]): Options {
  try {
    const { values } = parseArgs({
      args,
      options: {
        device: { type: 'string', default: 'cpu' },
        jobs: { type: 'string' },
        threads: { type: 'string', default: '1' },
        modes: { type: 'string', default: modes.join(',') },
        torch: { type: 'string' },
        'torch-modes': { type: 'string' },
        runtime: { type: 'string', default: process.execPath },
        repeats: { type: 'string', default: '5' },
        'time-limit': { type: 'string', default: '600' },
        limits: { type: 'boolean', default: false },
        profile: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        out: { type: 'string' },
      },
    })
    const device = oneOf('--device', values.device, devices)
    const { jobs = jobsOn[device].join(','), 'torch-modes': twins = device === 'cuda' ? 'eager,best' : 'eager' } =
      values
    if (values.limits && !(device === 'cuda' && values.torch))
      throw new Error('--limits needs --device cuda and --torch')
    const wanted = twins.split(',').map(name => oneOf('--torch-modes', name, torchModes))
    if (device === 'cpu' && wanted.includes('best')) throw new Error('--torch-modes best needs --device cuda')
    return {
      device,
      jobs: jobs.split(',').map(name => oneOf<AnyJobName>('--jobs', name, jobsOn[device])),
      threads: values.threads.split(',').map(count => positive('--threads', count)),
      modes: values.modes.split(',').map(name => oneOf('--modes', name, modes)),
      torch: values.torch,
      torchModes: wanted,
      runtime: values.runtime,
      repeats: positive('--repeats', values.repeats),
      limitSeconds: positive('--time-limit', values['time-limit']),
      limits: values.limits,
      profile: values.profile,
      json: values.json,
      out: values.out,
    }
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n\n${usage}`)
  }
}

function oneOf<T extends string>(option: string, name: string, known: readonly T[]): T {
  const found = known.find(candidate => candidate === name)
  if (found === undefined) throw new Error(`${option} ${name}: one of ${known.join(', ')}`)
  return found
}

function positive(option: string, text: string): number {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1) throw new Error(`${option} ${text}: a whole number from 1`)
  return count
}
