// `npm run test:gpu`, and `run.sh test` of a pack: what only a GPU can show. First `wick doctor`, then the Rust tests of every
// kernel, full-size ResNets against PyTorch (python3 must have torch and torchvision), and the JavaScript suites with tensors made
// on the GPU. `npm run test:gpu -- NAME…` runs only the named stages.
//
// At the end stand the first lines of every failure and a line for each stage. With the environment variable OUT, a folder, the
// whole output of each stage goes to a file there instead of the terminal.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { ensureBuilt } from './build.mjs'
import { buildCheck, packedCheck } from './gpu-check.mjs'
import { ensureInstalled } from './install.mjs'
import { CommandError, bun as installedBun, listFiles, main, root, run } from './lib.mjs'
import { countTests, failuresIn, printTotals } from './report.mjs'

const packed = process.env.WICK_GPU_PACK !== undefined
const bun = packed ? process.execPath : installedBun
const logs = process.env.OUT

/** A kernel that hangs must not take the rest of the machine's time. */
const timeout = 300_000

/** Failures of a stage that are shown at the end. */
const shown = 8

/** Suites that say nothing of the device: with `test/gpu/preload.ts` they run on the GPU. */
const anyDevice = [
  'tensor',
  'functional',
  'nn',
  'models',
  'optim',
  'bad-input',
  'capture',
  'plan',
  'fuzz',
  'trainer',
  'trainer-steps',
  'traces',
  'callbacks',
  'custom-events',
  'saving-callbacks',
  'averages',
  'schedulers',
  'model-freezer',
  'metrics',
  'data',
  'transforms',
  'images',
  'image-folder',
  'iterable-dataset',
  'precision',
  'loggers',
  'checkpoint',
  'resume',
  'verify',
  'defects',
]

/** Runs a stage's program; its counts and failures. */
async function tested(kind, command, args, options) {
  const result = await run(command, args, { timeout, echo: logs === undefined, ...options })
  return { result, ...countTests(kind, result), failures: failuresIn(kind, result) }
}

async function runDoctor() {
  const args = ['ts/cli/wick.ts', 'doctor', '--device', 'cuda']
  const result = await run(bun, args, { timeout, echo: logs === undefined })
  const failed = result.code === 0 ? 0 : 1
  return { result, passed: 1 - failed, failed, failures: result.output.match(/^FAIL.*$/gm) ?? [] }
}

async function runRust() {
  const check = packed ? join(root, packedCheck) : await buildCheck()
  return tested('cargo', check, ['--test-threads=1'], { timeout: 2 * timeout })
}

/** Each file in a process of its own: an error that ends a GPU's context must not fail the files that follow. */
function runFile(file, preload) {
  const flags = preload ? ['--preload', './test/gpu/preload.ts'] : []
  const args = ['test', '--timeout', String(timeout), ...flags, `./${file}`]
  return () => tested('bun', bun, args, { env: { WICK_TEST_DEVICE: 'cuda', NO_COLOR: '1' } })
}

/** Full-size ResNets against what PyTorch computes on this machine. */
async function runResNets() {
  const folder = mkdtempSync(join(tmpdir(), 'wick-resnet-'))
  try {
    const reference = await run('python3', ['test/gpu/resnet_reference.py', folder], { timeout })
    if (reference.code !== 0) throw new CommandError(`resnet_reference.py failed:\n${reference.output.slice(-1500)}`)
    return await tested('wick', bun, ['test/gpu/resnet.ts', folder])
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
    return { passed: 0, failed: 1, failures: [error.message] }
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
  if (logs !== undefined) mkdirSync(logs, { recursive: true })
  const rows = []
  for (const name of names) {
    console.log(`\n— ${name} —`)
    const start = Date.now()
    const { result, ...row } = await counted(stages.get(name))
    const seconds = ((Date.now() - start) / 1000).toFixed(0)
    if (logs !== undefined && result) writeFileSync(join(logs, `${name.replace('/', '-')}.log`), result.output)
    const ended = result?.signal ? ` (${result.signal})` : ''
    console.log(`${name}: ${row.passed} passed, ${row.failed} failed in ${seconds} s${ended}`)
    rows.push({ name, ...row })
  }
  for (const { name, failures } of rows) {
    for (const failure of failures.slice(0, shown)) console.log(`\n✗ ${name}: ${failure}`)
    if (failures.length > shown) console.log(`\n✗ ${name}: and ${failures.length - shown} more`)
  }
  return printTotals(rows)
})
