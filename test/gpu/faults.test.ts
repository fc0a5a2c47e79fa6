/** What can go wrong with a GPU leaves a clear error and, where the device survives, a process that goes on. Each in a process of its own. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
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

/** Starts the program, and tells how it ends; `seen` gets everything that it prints so far. */
function start(name: string, env: NodeJS.ProcessEnv, seen: (stdout: string, child: ChildProcess) => void = () => {}) {
  const child = spawn(process.execPath, [program, name], { env, stdio: ['ignore', 'pipe', 'pipe'] })
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
async function found<T>(name: string, env: NodeJS.ProcessEnv = process.env): Promise<T> {
  const { code, stdout, stderr } = await start(name, env)
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

test('a library that is missing is an error that names it, and the CPU works', async () => {
  interface Found {
    missing: { name: string; problem: string | null }[]
    errors: Record<string, Trouble | null>
    works: boolean
  }
  const empty = mkdtempSync(join(tmpdir(), 'wick-no-cuda-'))
  try {
    // Kernels that were compiled before would hide the compiler's absence.
    const { LD_LIBRARY_PATH: _, VIRTUAL_ENV: __, CUDA_HOME: ___, CUDA_PATH: ____, ...rest } = process.env
    const { missing, errors, works } = await found<Found>('library', {
      ...rest,
      WICK_CUDA_PATH: empty,
      WICK_CACHE_DIR: join(empty, 'cache'),
    })
    const names = missing.map(({ name }) => name)
    const needed = names.filter(name => ['nvrtc', 'cublasLt', 'cudnn'].includes(name))
    assert.ok(needed.length > 0, 'this machine has all libraries in its system folders: none can be taken away')
    for (const { name, problem } of missing) assert.match(problem ?? '', new RegExp(`lib${name}.*was not found`))
    const troubles = Object.values(errors).filter(error => error !== null)
    assert.ok(troubles.length > 0, `nothing needed ${needed.join(', ')}`)
    for (const { code, message } of troubles) {
      assert.equal(code, 'NOT_SUPPORTED', message)
      assert.ok(
        names.some(name => message.includes(`lib${name}.so`)),
        message,
      )
      assert.match(message, /WICK_CUDA_PATH/)
    }
    assert.ok(works)
  } finally {
    rmSync(empty, { recursive: true })
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
