/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util'
import { type JobName, jobNames, type Mode, modes } from './names.ts'

export interface Options {
  jobs: JobName[]
  threads: number[]
  modes: Mode[]
  /** A Python with torch and pytorch-accelerated; without it only wick runs. */
  torch: string | undefined
  /** The JavaScript runtime for wick's side. */
  runtime: string
  repeats: number
  /** Print results as JSON lines only. */
  json: boolean
  /** A file that gets the results as a JSON array. */
  out: string | undefined
}

const usage = `npm run bench -- [options]
  --jobs NAMES      any of ${jobNames.join(', ')} (default: all)
  --threads 1,2     thread counts (default: 1)
  --modes NAMES     wick's modes, any of ${modes.join(', ')} (default: all)
  --torch PYTHON    also run PyTorch's twin with this Python, in turn, and print the ratio
  --runtime PATH    the Bun or Node that runs wick (default: the one running this)
  --repeats N       rounds of each; the median counts (default: 5)
  --json            only JSON lines on stdout
  --out FILE        write the results to a file, e.g. bench/results/DEVICE-DATE.json
  --device cpu      the only device so far`

/** Reads the arguments; throws an error that ends with the usage. */
export function readOptions(args: string[]): Options {
  try {
    const { values } = parseArgs({
      args,
      options: {
        jobs: { type: 'string', default: jobNames.join(',') },
        threads: { type: 'string', default: '1' },
        modes: { type: 'string', default: modes.join(',') },
        torch: { type: 'string' },
        runtime: { type: 'string', default: process.execPath },
        repeats: { type: 'string', default: '5' },
        json: { type: 'boolean', default: false },
        out: { type: 'string' },
        device: { type: 'string', default: 'cpu' },
      },
    })
    if (values.device !== 'cpu') throw new Error(`--device ${values.device}: only cpu so far`)
    return {
      jobs: values.jobs.split(',').map(name => oneOf('--jobs', name, jobNames)),
      threads: values.threads.split(',').map(count => positive('--threads', count)),
      modes: values.modes.split(',').map(name => oneOf('--modes', name, modes)),
      torch: values.torch,
      runtime: values.runtime,
      repeats: positive('--repeats', values.repeats),
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
