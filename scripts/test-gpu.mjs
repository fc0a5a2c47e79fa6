// `npm run test:gpu`, and `run.sh test` of a pack: what only a GPU can show. First `wick doctor`, then the Rust tests of every
// kernel, full-size ResNets against PyTorch (python3 must have torch and torchvision), and the JavaScript suites with tensors made
// on the GPU. `npm run test:gpu -- NAME…` runs only the named stages.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { ensureBuilt } from './build.mjs'
import { buildCheck, packedCheck } from './gpu-check.mjs'
import { ensureInstalled } from './install.mjs'
import { CommandError, bun as installedBun, listFiles, main, mustRun, root, run } from './lib.mjs'
import { countTests, printTotals } from './report.mjs'

const packed = process.env.WICK_GPU_PACK !== undefined
const bun = packed ? process.execPath : installedBun

/** A kernel that hangs must not take the rest of the machine's time. */
const timeout = 300_000

/** Suites that say nothing of the device: with `test/gpu/preload.ts` they run on the GPU. */
const anyDevice = ['tensor', 'functional', 'nn', 'models', 'optim', 'bad-input', 'capture', 'plan', 'fuzz', 'trainer']

async function runDoctor() {
  const { code } = await run(bun, ['ts/cli/wick.ts', 'doctor', '--device', 'cuda'], { timeout })
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 }
}

async function runRust() {
  const check = packed ? join(root, packedCheck) : await buildCheck()
  return countTests('cargo', await run(check, ['--test-threads=1'], { timeout: 2 * timeout }))
}

/** Each file in a process of its own: an error that ends a GPU's context must not fail the files that follow. */
function runFile(file, preload) {
  const args = [
    'test',
    '--timeout',
    String(timeout),
    ...(preload ? ['--preload', './test/gpu/preload.ts'] : []),
    `./${file}`,
  ]
  return async () => countTests('bun', await run(bun, args, { timeout, env: { WICK_TEST_DEVICE: 'cuda' } }))
}

/** Full-size ResNets against what PyTorch computes on this machine. */
async function runResNets() {
  const folder = mkdtempSync(join(tmpdir(), 'wick-resnet-'))
  try {
    await mustRun('python3', ['test/gpu/resnet_reference.py', folder], { timeout })
    return countTests('wick', await run(bun, ['test/gpu/resnet.ts', folder], { timeout }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const ownFiles = listFiles(['test/gpu'], path => path.endsWith('.test.ts'))
const stages = new Map([
  ['doctor', runDoctor],
  ['rust', runRust],
  ['resnet', runResNets],
  ...ownFiles.map(file => [`gpu/${basename(file, '.test.ts')}`, runFile(file, false)]),
  ...anyDevice.map(name => [name, runFile(`test/${name}.test.ts`, true)]),
])

/** What a stage counts. One that can't run is a failure like any other. */
async function counted(stage) {
  try {
    return await stage()
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    console.error(error.message)
    return { passed: 0, failed: 1 }
  }
}

await main(async () => {
  const names = process.argv.length > 2 ? process.argv.slice(2) : [...stages.keys()]
  const unknown = names.find(name => !stages.has(name))
  if (unknown) throw new CommandError(`unknown stage '${unknown}': one of ${[...stages.keys()].join(', ')}`)
  if (!packed) {
    await ensureInstalled()
    await ensureBuilt()
  }
  const rows = []
  for (const name of names) {
    console.log(`\n— ${name} —`)
    rows.push({ name, ...(await counted(stages.get(name))) })
  }
  return printTotals(rows)
})
