/** The checks of `wick doctor`, in their order. */
import { accessSync, constants, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type * as Wick from '../index.ts'
import { type Cuda, cudaOf, deviceInWords, hasDriver, isRequired, libraryInWords } from './cuda.ts'
import { bytesInWords, cacheFolder, freeBytes, runtime } from './system.ts'
import { expectedLosses, tolerance, trainingLosses } from './training-step.ts'

export const doctorDevices = ['auto', 'cpu', 'cuda'] as const
/** Which devices are checked; `auto` checks the GPUs where there is a driver. */
export type DoctorDevice = (typeof doctorDevices)[number]

/** The result of a check. */
export interface Finding {
  name: string
  status: 'pass' | 'fail' | 'skip'
  detail: string
  /** What to do about a failure. */
  advice?: string
}

const oldest = { Node: 20, Bun: 1.3 }
const neededDisk = 2 ** 30
const neededShared = 2 ** 26

const pass = (name: string, detail: string): Finding => ({ name, status: 'pass', detail })
const skip = (name: string, detail: string): Finding => ({ name, status: 'skip', detail })
const fail = (name: string, detail: string, advice: string): Finding => ({ name, status: 'fail', detail, advice })
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** A check whose `body` gives the detail of a pass, and throws the detail of a failure. */
function check(name: string, advice: string, body: () => string): Finding {
  try {
    return pass(name, body())
  } catch (error) {
    return fail(name, messageOf(error), advice)
  }
}

/** Every finding, as soon as it is made. */
export async function* diagnose(device: DoctorDevice): AsyncGenerator<Finding> {
  yield checkRuntime()
  const loaded = await load()
  yield loaded.finding
  if (loaded.wick && loaded.cuda) {
    yield checkTraining(loaded.wick, 'cpu')
    yield* checkGpus(loaded.wick, loaded.cuda, device)
  } else {
    yield skip('training step', 'needs the addon')
    yield skip('CUDA libraries', 'needs the addon')
  }
  yield checkCache()
  yield checkDisk()
  yield checkSharedMemory()
}

function checkRuntime(): Finding {
  const { name, version } = runtime()
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [needMajor = 0, needMinor = 0] = String(oldest[name]).split('.').map(Number)
  const enough = major > needMajor || (major === needMajor && minor >= needMinor)
  if (enough) return pass('runtime', `${name} ${version}`)
  return fail('runtime', `${name} ${version}`, `install ${name} ${oldest[name]} or newer`)
}

/** The library as a whole, which loads the addon. */
async function load(): Promise<{ finding: Finding; wick?: typeof Wick; cuda?: Cuda }> {
  try {
    const wick = await import('../index.ts')
    const { native } = await import('../native/index.ts')
    return { finding: pass('addon', `loads, ${wick.getNumThreads()} threads`), wick, cuda: cudaOf(native) }
  } catch (error) {
    const advice = 'build it with `npm run build`, or set WICK_NATIVE to a build for this machine'
    return { finding: fail('addon', messageOf(error), advice) }
  }
}

function checkTraining(wick: typeof Wick, device: string): Finding {
  const advice =
    device === 'cpu'
      ? 'rebuild the addon with `npm run build`; if that does not help, report it with the output of `wick env`'
      : 'see whether `nvidia-smi` reports errors and whether other programs compute there; report it with the output of `wick env`'
  return check(`training step ${device}`, advice, () => {
    const losses = trainingLosses(wick, device)
    const worst = Math.max(...losses.map((loss, i) => Math.abs(loss / expectedLosses[i]! - 1)))
    // Written so that NaN fails.
    if (!(worst <= tolerance)) throw new Error(`losses ${losses.join(', ')} instead of ${expectedLosses.join(', ')}`)
    return `losses differ from the stored ones by ${worst.toExponential(0)} at most`
  })
}

function* checkGpus(wick: typeof Wick, cuda: Cuda, device: DoctorDevice): Generator<Finding> {
  if (device === 'cpu') return yield skip('CUDA libraries', 'not asked for')
  if (device === 'auto' && !hasDriver(cuda))
    return yield skip('CUDA libraries', 'no NVIDIA driver: training on the CPU')
  yield checkLibraries(cuda)
  if (cuda.devices.length === 0) {
    const advice = 'see whether `nvidia-smi` lists a GPU and whether CUDA_VISIBLE_DEVICES hides it'
    yield fail('devices', cuda.problem ?? 'no GPU', advice)
  }
  for (const [i, properties] of cuda.devices.entries()) {
    const name = `cuda:${i}` as const
    const opened = check(`device ${name}`, 'free its memory or choose another GPU with CUDA_VISIBLE_DEVICES', () => {
      const sum = wick.scope(() => wick.tensor([1, 2, 3], { device: name }).sum().itemSync())
      if (sum !== 6) throw new Error(`1 + 2 + 3 gave ${sum}`)
      return deviceInWords(properties)
    })
    yield opened
    yield opened.status === 'pass'
      ? checkTraining(wick, name)
      : skip(`training step ${name}`, 'the device does not open')
  }
}

/** NCCL may be missing: only training on several GPUs needs it, and its sentence says so. */
function checkLibraries({ libraries }: Cuda): Finding {
  const detail = libraries.map(library => `lib${library.name}: ${libraryInWords(library)}`).join('\n')
  if (!libraries.some(library => isRequired(library) && library.problem)) return pass('CUDA libraries', detail)
  return fail('CUDA libraries', detail, 'install what is missing, or name its folder in WICK_CUDA_PATH')
}

function checkCache(): Finding {
  const folder = cacheFolder()
  return check('cache folder', `make ${folder} writable, or set WICK_CACHE_DIR to a folder that is`, () => {
    mkdirSync(folder, { recursive: true })
    const file = join(folder, `.doctor-${process.pid}`)
    writeFileSync(file, '')
    rmSync(file)
    return folder
  })
}

function checkDisk(): Finding {
  const folder = process.cwd()
  return check('disk space', 'free some, or save checkpoints elsewhere', () => {
    accessSync(folder, constants.W_OK)
    const free = freeBytes(folder)
    const detail = `${bytesInWords(free)} free for checkpoints in ${folder}`
    if (free < neededDisk) throw new Error(`${detail}, less than ${bytesInWords(neededDisk)}`)
    return detail
  })
}

/** Processes that train together on one machine exchange gradients through it. */
function checkSharedMemory(): Finding {
  const folder = '/dev/shm'
  if (!existsSync(folder)) return skip('shared memory', `there is no ${folder} here`)
  return check('shared memory', 'give the container more, such as `docker run --shm-size 1g`', () => {
    accessSync(folder, constants.W_OK)
    const free = freeBytes(folder)
    if (free < neededShared)
      throw new Error(`${bytesInWords(free)} free in ${folder}, less than ${bytesInWords(neededShared)}`)
    return `${bytesInWords(free)} free in ${folder}`
  })
}
