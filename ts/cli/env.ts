/** `wick env`: what wick runs on, to be pasted into a bug report. */
import type { Command } from './command.ts'
import { type Cuda, cudaOf, deviceInWords, libraryInWords } from './cuda.ts'
import { bytesInWords, cacheFolder, cpu, mainMemory, packageVersion, runtime, settings, system } from './system.ts'

/** All that `wick env --json` prints. */
interface Environment {
  wick: string
  runtime: ReturnType<typeof runtime>
  system: string
  cpu: ReturnType<typeof cpu>
  memory: ReturnType<typeof mainMemory>
  cacheFolder: string
  settings: Record<string, string>
  /** What the native addon knows, or why it doesn't load. */
  addon: { threads: number; cuda: Cuda } | { problem: string }
}

async function addon(): Promise<Environment['addon']> {
  try {
    const { native } = await import('../native/index.ts')
    return { threads: native.getNumThreads(), cuda: cudaOf(native) }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

async function environment(): Promise<Environment> {
  return {
    wick: packageVersion(),
    runtime: runtime(),
    system: system(),
    cpu: cpu(),
    memory: mainMemory(),
    cacheFolder: cacheFolder(),
    settings: settings(),
    addon: await addon(),
  }
}

function cudaLines({ libraries, devices, problem }: Cuda): [string, string][] {
  const gpus = devices.map((device, i): [string, string] => [`cuda:${i}`, deviceInWords(device)])
  const none: [string, string][] = gpus.length > 0 ? [] : [['gpu', problem ? `none: ${problem}` : 'none']]
  return [...none, ...gpus, ...libraries.map((l): [string, string] => [`lib${l.name}`, libraryInWords(l)])]
}

/** The environment as names and values, one a line. */
function lines({ wick, runtime, system, cpu, memory, cacheFolder, settings, addon }: Environment): [string, string][] {
  return [
    ['wick', wick],
    ['runtime', `${runtime.name} ${runtime.version}`],
    ['system', system],
    ['cpu', [cpu.model, `${cpu.cores} cores`, cpu.features.join(' ')].filter(Boolean).join(', ')],
    ['memory', `${bytesInWords(memory.total)}, ${bytesInWords(memory.free)} free`],
    ['cache', cacheFolder],
    ...Object.entries(settings),
    ...('problem' in addon
      ? [['addon', addon.problem] as [string, string]]
      : [['threads', String(addon.threads)] as [string, string], ...cudaLines(addon.cuda)]),
  ]
}

export const env: Command = {
  summary: 'print versions, CPU, GPUs and what was found of the CUDA libraries',
  usage: `wick env [--json]

Prints what wick runs on. Of each CUDA library: where it was found and its version, or why it can't be used.

  --json  as JSON`,
  options: { json: { type: 'boolean' } },
  async run({ json }) {
    const found = await environment()
    if (json) {
      console.log(JSON.stringify(found, null, 2))
      return 0
    }
    const rows = lines(found)
    const width = Math.max(...rows.map(([name]) => name.length))
    for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`)
    return 0
  },
}
