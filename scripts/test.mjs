// `npm test`: the Rust tests, then the JavaScript suite on Bun, on the installed Node (compiled) and on Node 22 and 24 (sources).
// `npm test -- NAME…` runs only the named runners: rust, bun, node, node22, node24.
import { ensureBuilt, ensureTestsBuilt } from './build.mjs'
import { ensureCudaLibraries } from './cuda-libraries.mjs'
import { ensureInstalled } from './install.mjs'
import { bun, CommandError, installedNode, listFiles, main, node22, node24, run } from './lib.mjs'
import { countTests, printTotals } from './report.mjs'
import { ensureTensorBoard } from './tensorboard.mjs'

/** Not those of `npm run test:gpu`. */
const testFiles = (folder, suffix) => listFiles([folder], path => path.endsWith(suffix) && !path.includes('/gpu/'))

async function runCargo() {
  const env = await ensureCudaLibraries()
  const { code } = await run('cargo', ['nextest', '--version'], { echo: false })
  const [kind, ...command] = code === 0 ? ['nextest', 'nextest', 'run'] : ['cargo', 'test']
  const result = await run('cargo', [...command, '--release', '--locked', '--workspace'], { env })
  return [{ name: `cargo ${command.join(' ')}`, ...countTests(kind, result) }]
}

async function runBun() {
  const files = testFiles('test', '.test.ts').map(file => `./${file}`)
  const result = await run(bun, ['test', '--timeout', '300000', ...files], { env: await ensureTensorBoard() })
  return [{ name: 'bun', ...countTests('bun', result) }]
}

/** Node's runner starts one process a file. Memory and thread tests want the machine to themselves, so one at a time. */
async function runNode(node, files) {
  const { stdout } = await run(node, ['--version'], { echo: false })
  const args = [
    '--test',
    '--test-concurrency=1',
    '--test-reporter=spec',
    '--disable-warning=ExperimentalWarning',
    ...files,
  ]
  const result = await run(node, args, { env: await ensureTensorBoard() })
  return [
    { name: `node ${stdout.trim()}${files[0]?.startsWith('dist') ? ' (dist)' : ''}`, ...countTests('node', result) },
  ]
}

const runners = {
  rust: runCargo,
  bun: runBun,
  node: async () => {
    await ensureTestsBuilt()
    return runNode(installedNode, testFiles('dist/test', '.test.js'))
  },
  node22: () => runNode(node22, testFiles('test', '.test.ts')),
  node24: () => runNode(node24, testFiles('test', '.test.ts')),
}

/** What a stage of the tests counts. One that can't run is a failure like any other. */
async function counted(name, stage) {
  try {
    return await stage()
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    console.error(error.message)
    return [{ name, passed: 0, failed: 1 }]
  }
}

await main(async () => {
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(runners)
  const unknown = names.find(name => !(name in runners))
  if (unknown) throw new CommandError(`unknown runner '${unknown}': one of ${Object.keys(runners).join(', ')}`)
  const rows = await counted('build', async () => {
    await ensureInstalled()
    await ensureBuilt()
    return []
  })
  if (rows.length > 0) return printTotals(rows)
  for (const name of names) {
    console.log(`\n— ${name} —`)
    rows.push(...(await counted(name, runners[name])))
  }
  return printTotals(rows)
})
