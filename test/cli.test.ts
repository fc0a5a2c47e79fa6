/** The command `wick` as a process: its output, where it goes and its exit status, with stand-ins for what this machine lacks. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))
const program = path(`../ts/cli/wick${extname(fileURLToPath(import.meta.url))}`)
const folder = mkdtempSync(join(tmpdir(), 'wick-cli-'))
after(() => rmSync(folder, { recursive: true }))

interface Result {
  status: number
  stdout: string
  stderr: string
}

function wick(args: string[], env: Record<string, string> = {}): Promise<Result> {
  const flags = process.versions.bun ? [] : ['--disable-warning=ExperimentalWarning']
  const options = { env: { ...process.env, WICK_CACHE_DIR: join(folder, 'cache'), ...env }, cwd: folder }
  return new Promise(resolve => {
    execFile(process.execPath, [...flags, program, ...args], options, (error, stdout, stderr) => {
      const code = error?.code ?? 0
      resolve({ status: typeof code === 'number' ? code : -1, stdout, stderr })
    })
  })
}

/** An addon that is the real one, but finds the given CUDA libraries and devices. */
function standIn(name: string, libraries: object[], devices: object[]): { WICK_NATIVE: string } {
  const file = 'wick.linux-x64-gnu.node'
  const places = [process.env.WICK_NATIVE, path(`../ts/native/${file}`), path(`../../ts/native/${file}`)]
  const real = places.find(place => place && existsSync(place))
  const found = `probeCuda: () => (${JSON.stringify(libraries)}), cudaDevices: () => (${JSON.stringify(devices)})`
  const standIn = join(folder, `${name}.cjs`)
  writeFileSync(standIn, `module.exports = { ...require(${JSON.stringify(real)}), ${found} }\n`)
  return { WICK_NATIVE: standIn }
}

const driver = { name: 'cuda', path: '/usr/lib/libcuda.so.1', version: '13.0.0' }
const nvrtc = { name: 'nvrtc', path: '/opt/cuda/libnvrtc.so.13', version: '13.0.0' }
const oldCudnn = { name: 'cudnn', problem: 'cuDNN at /opt/cudnn.so is version 9.1.0, but 9.10 or newer is needed' }
const noNccl = { name: 'nccl', problem: 'NCCL (libnccl.so.2) was not found' }
const gpu = { name: 'NVIDIA H100', memoryBytes: 80 * 2 ** 30, compute: [9, 0], multiprocessors: 132 }

const noGpu = standIn('no-gpu', [{ name: 'cuda', problem: 'the NVIDIA driver was not found' }], [])
const unusable = standIn('unusable', [driver, nvrtc, oldCudnn, noNccl], [])

test('without a command it explains itself', async () => {
  const { status, stdout } = await wick([])
  assert.equal(status, 2)
  for (const command of ['env', 'doctor']) assert.match(stdout, new RegExp(`^  ${command} `, 'm'))
})

test('--help and --version answer without the addon', async () => {
  const broken = { WICK_NATIVE: join(folder, 'absent.node') }
  const help = await wick(['--help'], broken)
  assert.equal(help.status, 0)
  assert.match(help.stdout, /^wick COMMAND/)
  const version = await wick(['--version'], broken)
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  const command = await wick(['doctor', '--help'], broken)
  assert.equal(command.status, 0)
  assert.match(command.stdout, /--device cuda/)
})

const wrong: [args: string[], message: RegExp][] = [
  [['doctr'], /unknown command 'doctr'; did you mean 'doctor'\?/],
  [['toString'], /unknown command 'toString'/],
  [['env', '--jsn'], /unknown option '--jsn'; did you mean '--json'\?/],
  [['doctor', '--device', 'cudaa'], /unknown device 'cudaa'; did you mean 'cuda'\?/],
  [['doctor', 'now'], /now/],
]
for (const [args, message] of wrong) {
  test(`wick ${args.join(' ')} is an error on stderr with status 2`, async () => {
    const { status, stdout, stderr } = await wick(args)
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, message)
    assert.doesNotMatch(stderr, /^ +at /m, 'no stack')
  })
}

test('env names the runtime, the threads, and each library with its path or its problem', async () => {
  const { status, stdout } = await wick(['env'], { ...unusable, WICK_NUM_THREADS: '3' })
  assert.equal(status, 0)
  const { bun, node } = process.versions
  assert.ok(stdout.includes(bun ? `Bun ${bun}` : `Node ${node}`))
  assert.match(stdout, /^threads +3$/m)
  assert.match(stdout, /^WICK_NUM_THREADS +3$/m)
  assert.match(stdout, /^libnvrtc +found 13\.0\.0 \(\/opt\/cuda\/libnvrtc\.so\.13\)$/m)
  assert.match(stdout, /^libcudnn +cuDNN at .* 9\.10 or newer is needed$/m)
})

test('env --json is JSON', async () => {
  const { stdout } = await wick(['env', '--json'], standIn('gpu', [driver], [gpu]))
  const { addon, wick: version } = JSON.parse(stdout)
  assert.match(version, /^\d/)
  assert.deepEqual(addon.cuda.devices, [gpu])
})

/** The names of the checks that failed, but for those of how much room this machine happens to have. */
function failures({ stdout }: Result): string[] {
  const names = [...stdout.matchAll(/^FAIL {2}(.*?) {2}/gm)].map(([, name = '']) => name)
  return names.filter(name => name !== 'disk space' && name !== 'shared memory')
}

test('doctor finds nothing wrong with a machine without a GPU', async () => {
  const result = await wick(['doctor'], noGpu)
  assert.deepEqual(failures(result), [])
  assert.match(result.stdout, /^pass {2}training step cpu/m)
  assert.match(result.stdout, /^skip {2}CUDA libraries +no NVIDIA driver/m)
})

test('doctor counts its findings, and its exit status says whether one is a failure', async () => {
  const { status, stdout } = await wick(['doctor'], noGpu)
  const [, passed, failed] = /^(\d+) passed, (\d+) failed, 1 skipped\n$/m.exec(stdout) ?? []
  assert.equal(Number(passed) + Number(failed), 6, stdout)
  assert.equal(status, failed === '0' ? 0 : 1)
})

test('doctor --device cuda fails there, and doctor --device cpu looks at no GPU', async () => {
  const cuda = await wick(['doctor', '--device', 'cuda'], noGpu)
  assert.equal(cuda.status, 1)
  assert.match(cuda.stdout, /^FAIL {2}CUDA libraries/m)
  assert.deepEqual(failures(await wick(['doctor', '--device', 'cpu'], unusable)), [])
})

test('doctor says what to do about a library that is too old; a missing NCCL alone is no failure', async () => {
  const old = await wick(['doctor'], unusable)
  assert.equal(old.status, 1)
  assert.match(old.stdout, /^FAIL {2}CUDA libraries[\s\S]*9\.10 or newer is needed[\s\S]*→ .*WICK_CUDA_PATH/m)
  const { stdout } = await wick(['doctor'], standIn('no-nccl', [driver, nvrtc, noNccl], []))
  assert.match(stdout, /^pass {2}CUDA libraries/m)
  assert.match(stdout, /^FAIL {2}devices/m)
})

test('doctor reports an addon that does not load, and goes on', async () => {
  const { status, stdout } = await wick(['doctor'], { WICK_NATIVE: join(folder, 'absent.node') })
  assert.equal(status, 1)
  assert.match(stdout, /^FAIL {2}addon[\s\S]*→ build it/m)
  assert.match(stdout, /^pass {2}cache folder/m)
})

test('doctor reports a cache folder that cannot be written', async () => {
  writeFileSync(join(folder, 'file'), '')
  const { status, stdout } = await wick(['doctor'], { ...noGpu, WICK_CACHE_DIR: join(folder, 'file', 'cache') })
  assert.equal(status, 1)
  assert.match(stdout, /^FAIL {2}cache folder[\s\S]*→ make .* writable, or set WICK_CACHE_DIR/m)
})
