/** What can go wrong with a GPU leaves a clear error and, where the device survives, a process that goes on. Each in a process of its own. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const program = join(import.meta.dirname, 'programs/fault.ts')

interface Trouble {
  code: string
  op: string
  message: string
}

interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

/** Starts the program, by means of `starter`, and tells how it ends; `seen` gets everything that it prints so far. */
function start(
  name: string,
  env: NodeJS.ProcessEnv,
  seen: (stdout: string, child: ChildProcess) => void = () => {},
  starter: string[] = [],
) {
  const [command = process.execPath, ...args] = [...starter, process.execPath, program, name]
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  for (const key of ['stdout', 'stderr'] as const) {
    child[key].on('data', chunk => {
      output[key] += chunk
      if (key === 'stdout') seen(output.stdout, child)
    })
  }
  return new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, ...output }))
  })
}

/** What a program that ends by itself found. */
async function found<T>(name: string, env = process.env, starter: string[] = []): Promise<T> {
  const { code, stdout, stderr } = await start(name, env, undefined, starter)
  assert.equal(code, 0, stderr)
  assert.doesNotMatch(stderr, /panic/i)
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
}

test('a kernel that fails is an error at the next read, and the process goes on', async () => {
  interface Found {
    alone: Trouble | null
    replayed: Trouble | null
    next: Trouble | null
    works: boolean
  }
  const { alone, replayed, next, works } = await found<Found>('index')
  for (const error of [alone, replayed]) {
    assert.equal(error?.code, 'INDEX_OUT_OF_RANGE', JSON.stringify(error))
    assert.match(error.message, /index/)
  }
  assert.equal(next, null)
  assert.ok(works)
})

test('a label that is no class is an error at the next read, and the weights do not take it', async () => {
  interface Found {
    alone: Trouble | null
    replayed: (Trouble | null)[]
    trained: Trouble | null
    finite: boolean
    works: boolean
  }
  const { alone, replayed, trained, finite, works } = await found<Found>('label')
  const expected = 'INDEX_OUT_OF_RANGE'
  assert.equal(alone?.code, expected)
  assert.deepEqual(
    replayed.map(error => error?.code),
    [undefined, undefined, undefined, undefined, expected, undefined],
  )
  assert.equal(trained?.code, expected)
  assert.ok(finite)
  assert.ok(works)
})

test('memory that runs out is an error that says what holds it, and the process goes on', async () => {
  interface Found {
    atOnce: Trouble | null
    bitByBit: Trouble | null
    blocks: number
    held: number
    after: number
    loss: number
    works: boolean
  }
  const { atOnce, bitByBit, blocks, held, after, loss, works } = await found<Found>('exhausted')
  for (const error of [atOnce, bitByBit]) {
    assert.equal(error?.code, 'OUT_OF_MEMORY', JSON.stringify(error))
    assert.match(error.message, /asked for on cuda:0 while \d+ tensors' memory holds \d+ bytes/)
  }
  assert.ok(blocks > 0)
  assert.equal(held, blocks * 2 ** 31)
  assert.equal(after, 0)
  assert.ok(Number.isFinite(loss))
  assert.ok(works)
})

/** Hides files behind an empty one, in a view of the file system that only the process has; root may do that. */
const masking = 'for file in $MASKED; do mount --bind "$EMPTY" "$file" || exit 9; done; exec "$@"'

test('a library that is lost is an error that names it, and the CPU works', async () => {
  interface Found {
    libraries: { name: string; path: string | null; problem: string | null }[]
    errors: Record<string, Trouble | null>
    works: boolean
  }
  const folder = mkdtempSync(join(tmpdir(), 'wick-no-cudnn-'))
  try {
    const empty = join(folder, 'empty')
    writeFileSync(empty, '')
    const masked: string[] = []
    // wick looks in several places: all of them have to go.
    for (let tries = 0; tries < 8; tries++) {
      const env = { ...process.env, EMPTY: empty, MASKED: masked.join(' ') }
      const { libraries, errors, works } = await found<Found>('library', env, [
        'unshare',
        '--mount',
        'sh',
        '-c',
        masking,
        'sh',
      ])
      assert.ok(works)
      const cudnn = libraries.find(({ name }) => name === 'cudnn')
      assert.ok(cudnn)
      if (cudnn.problem === null) {
        assert.ok(cudnn.path)
        masked.push(realpathSync(cudnn.path))
        continue
      }
      assert.match(cudnn.problem, /libcudnn.*(was not found|can't be loaded)/)
      assert.equal(errors.add, null)
      assert.equal(errors.conv2d?.code, 'NOT_SUPPORTED')
      assert.match(errors.conv2d?.message ?? '', /libcudnn/)
      return
    }
    assert.fail(`cuDNN is still found without ${masked.join(', ')}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('Ctrl-C ends a training run at once, and the GPU is free for the next', async () => {
  let interrupted = false
  const { code, signal, stderr } = await start('training', process.env, (stdout, child) => {
    if (interrupted || !stdout.includes('an epoch ended')) return
    interrupted = true
    child.kill('SIGINT')
  })
  assert.ok(interrupted, stderr)
  assert.ok(signal === 'SIGINT' || code === 130, `signal ${signal}, exit code ${code}`)
  assert.doesNotMatch(stderr, /panic|CUDA|core dumped/i)
  const { works } = await found<{ works: boolean }>('index')
  assert.ok(works)
})
