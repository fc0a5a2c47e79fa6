// Builds what is out of date: the native addon (cargo) and the JavaScript for Node 20 (tsc).
// `node scripts/build.mjs` builds; the other commands call ensureBuilt.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { noticesOf, crates as readCrates } from './crates.mjs'
import { ensureInstalled } from './install.mjs'
import { CommandError, hashFiles, installedNode, listFiles, main, mustRun, root, tsc } from './lib.mjs'

const addon = 'ts/native/wick.linux-x64-gnu.node'
/** Beside it: the notices of the crates that are linked into it. */
const notices = 'ts/native/THIRD-PARTY-NOTICES'
const stampFile = join(root, 'dist/.build.json')

const readStamps = () => (existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')) : {})

/** Runs `build` unless the inputs hash to what they did after the last successful build and the outputs are still there. */
async function target(name, inputs, outputs, build) {
  const hash = hashFiles(inputs)
  if (readStamps()[name] === hash && outputs.every(path => existsSync(join(root, path)))) return false
  await build()
  mkdirSync(dirname(stampFile), { recursive: true })
  writeFileSync(stampFile, `${JSON.stringify({ ...readStamps(), [name]: hash }, null, 2)}\n`)
  return true
}

/** Replaces a file in one step: a process that has the old addon mapped keeps its copy. */
function install(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  const fresh = `${to}.${process.pid}`
  copyFileSync(from, fresh)
  renameSync(fresh, to)
}

async function buildNative() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new CommandError('wick-ml builds on linux-x64 only for now')
  console.error('Building the native addon (the first build takes some minutes)')
  // Diagnostics go to stderr as always; stdout says where the library was put, whatever the target folder is.
  const format = '--message-format=json-render-diagnostics'
  const { stdout } = await mustRun('cargo', ['build', '--release', '--locked', '--workspace', format], {
    echo: 'stderr',
  })
  const library = stdout
    .split('\n')
    .filter(line => line.includes('"compiler-artifact"'))
    .map(line => JSON.parse(line))
    .filter(artifact => artifact.target.kind.includes('cdylib'))
    .flatMap(artifact => artifact.filenames)
    .find(name => name.endsWith('.so'))
  if (!library) throw new CommandError('cargo built no shared library for wick-node')
  install(library, join(root, addon))
}

const typescript = path => path.endsWith('.ts')
const configs = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'tsconfig.test.json']

/** Compiles with tsc. The output of files that are gone is removed first, so that nothing stale can be imported. */
async function compile(project, folders) {
  for (const folder of folders) rmSync(join(root, 'dist', folder), { recursive: true, force: true })
  await mustRun(installedNode, [tsc, '-p', project])
}

/** Makes sure that the addon and `dist/ts`, `dist/examples` are up to date. */
export async function ensureBuilt() {
  const crates = listFiles(['Cargo.toml', 'Cargo.lock', 'crates'])
  await target('native', crates, [addon], buildNative)
  const manifests = crates.filter(path => /Cargo\.(toml|lock)$/.test(path))
  await target('notices', ['scripts/crates.mjs', ...manifests], [notices], async () =>
    writeFileSync(join(root, notices), noticesOf((await readCrates()).linked)),
  )
  const sources = listFiles(['ts', 'examples', ...configs], path => typescript(path) || configs.includes(path))
  await target('ts', sources, ['dist/ts/index.js'], () => compile('tsconfig.build.json', ['ts', 'examples']))
  await target('dist-addon', [addon, notices], [`dist/${addon}`, `dist/${notices}`], () => {
    for (const path of [addon, notices]) install(join(root, path), join(root, 'dist', path))
  })
}

/** Compiles the tests for runtimes without type stripping into `dist/test`. */
export async function ensureTestsBuilt() {
  const sources = listFiles(['ts', 'examples', 'test', ...configs], path => typescript(path) || configs.includes(path))
  await target('test', sources, ['dist/test'], async () => {
    await compile('tsconfig.test.json', ['test'])
    // Tests find their fixtures beside themselves.
    symlinkSync(join('..', '..', 'test', 'golden'), join(root, 'dist/test/golden'))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    await ensureInstalled()
    await ensureBuilt()
  })
}
