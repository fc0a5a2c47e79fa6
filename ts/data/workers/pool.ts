/** The main thread's side of a loader's workers: starts them, asks for batches, and turns what goes wrong into errors. */
import { Worker } from 'node:worker_threads'
import { WickError } from '../../errors.ts'
import type { Answer, ErrorParts, Pass, WorkerSetup } from './messages.ts'
import type { Form } from './packing.ts'

/** A batch in a worker's ring. */
export interface Arrived {
  readonly form: Form
  readonly buffer: SharedArrayBuffer
  readonly start: number
  /** Gives the region back, after which it may not be read. */
  release(): void
}

/** A batch that a worker was asked for. */
export interface Asked {
  readonly arriving: Promise<Arrived>
  /** Ends the worker: the batch took longer than `ms` milliseconds. */
  expire(ms: number): void
}

interface Waiting {
  readonly indices: Uint32Array
  readonly pass: Pass
  resolve(arrived: Arrived): void
  reject(error: WickError): void
}

/** Compiled or not, as this file is. */
const threadUrl = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url)

/** One worker thread. */
class Lane {
  readonly #index: number
  readonly #worker: Worker
  readonly #making: Int32Array<SharedArrayBuffer>
  /** By request, oldest first. */
  readonly #waiting = new Map<number, Waiting>()
  #ring = new SharedArrayBuffer(0)
  #released: number[] = []
  #requests = 0
  /** Why the worker can't be used any more. */
  #end: { reason: string; error?: ErrorParts } | undefined

  constructor(index: number, setup: Omit<WorkerSetup, 'making'>) {
    this.#index = index
    this.#making = new Int32Array(new SharedArrayBuffer(4))
    const workerData: WorkerSetup = { ...setup, making: this.#making }
    this.#worker = new Worker(threadUrl, { workerData, name: `wick-loader-${index}` })
    this.#worker.unref()
    this.#worker.on('message', (answer: Answer) => this.#receive(answer))
    this.#worker.on('messageerror', error => this.#fail('sent what could not be read', errorParts(error)))
    this.#worker.on('error', error => this.#fail('failed', errorParts(error)))
    this.#worker.on('exit', code => this.#fail(`ended with exit code ${code}`))
  }

  /** Whether the worker has ended. */
  get hasEnded(): boolean {
    return this.#end !== undefined
  }

  /** Asks for a batch. */
  request(pass: Pass, batch: number, indices: Uint32Array): Asked {
    const id = this.#requests++
    const arriving = new Promise<Arrived>((resolve, reject) => {
      const waiting = { indices, pass, resolve, reject }
      if (this.#end) {
        reject(this.#ended(waiting))
        return
      }
      // A program doesn't end while it waits for a batch; a worker with nothing to do doesn't hold it up.
      if (this.#waiting.size === 0) this.#worker.ref()
      this.#waiting.set(id, waiting)
      this.#worker.postMessage({ id, pass, batch, indices, released: this.#released })
      this.#released = []
    })
    // An error belongs to whoever waits for this batch; until then it is not unhandled.
    arriving.catch(() => {})
    return { arriving, expire: ms => this.#fail(`made no batch within ${ms} ms`) }
  }

  /** Rejects what was asked for in `pass`. */
  forget(pass: Pass): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.pass !== pass) continue
      this.#settle(id)
      waiting.reject(this.#error('the pass was closed', waiting, undefined, undefined))
    }
  }

  /** Ends the worker. */
  close(): void {
    this.#fail('was closed')
  }

  #receive(answer: Answer): void {
    if (answer.kind === 'broken') {
      this.#fail('could not make its dataset', answer.error)
      return
    }
    const waiting = this.#settle(answer.id)
    if (answer.kind === 'batch') {
      const { form, region, start } = answer
      if (answer.ring) this.#ring = answer.ring
      if (waiting) waiting.resolve({ form, buffer: this.#ring, start, release: () => this.#released.push(region) })
      else this.#released.push(region)
      return
    }
    if (!waiting) return
    const { item, error } = answer
    const what = item === undefined ? `collating items ${waiting.indices.join(', ')}` : `item ${item}`
    waiting.reject(this.#error(`${what}: ${error.message}`, waiting, error, item))
  }

  /** Takes a request off the list. */
  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#worker.unref()
    return waiting
  }

  /** Ends the worker and rejects what it was asked for; only the first reason counts. */
  #fail(reason: string, error?: ErrorParts): void {
    if (this.#end) return
    this.#end = error ? { reason, error } : { reason }
    const making = Atomics.load(this.#making, 0) - 1
    for (const id of [...this.#waiting.keys()]) {
      const waiting = this.#settle(id)
      const item = waiting?.indices.includes(making) ? making : undefined
      waiting?.reject(this.#ended(waiting, item))
    }
    void this.#worker.terminate()
  }

  #ended(waiting: Waiting, item?: number): WickError {
    const { reason, error } = this.#end ?? { reason: 'ended' }
    const during = item === undefined ? `asked for items ${waiting.indices.join(', ')}` : `while it made item ${item}`
    return this.#error(`the worker ${reason}, ${during}${error ? `: ${error.message}` : ''}`, waiting, error, item)
  }

  #error(message: string, { indices }: Waiting, error: ErrorParts | undefined, item: number | undefined): WickError {
    const details = {
      worker: this.#index,
      samples: Array.from(indices, String),
      ...(item === undefined ? {} : { sample: item }),
      ...(error ? { workerStack: error.stack } : {}),
    }
    const cause = error && rebuilt(error)
    return new WickError('WORKER_FAILED', message, { op: 'DataLoader', details, cause })
  }
}

/** An error as it was in the worker. */
function rebuilt({ name, message, stack, code }: ErrorParts): Error {
  const error = code ? new WickError(code, message) : new Error(message)
  if (!code) Object.defineProperty(error, 'name', { value: name, configurable: true })
  Object.defineProperty(error, 'stack', { value: stack, configurable: true })
  return error
}

function errorParts(error: unknown): ErrorParts {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: String(error) }
  return { name: error.name, message: error.message, stack: error.stack ?? String(error) }
}

/** The workers of pools that were collected. */
const unused = new FinalizationRegistry<Lane[]>(closeAll)

function closeAll(lanes: Lane[]): void {
  for (const lane of lanes.splice(0)) lane.close()
}

/** The workers of a loader, started when they are first needed and kept from pass to pass. */
export class WorkerPool {
  readonly size: number
  readonly #setup: Omit<WorkerSetup, 'making'>
  readonly #lanes: Lane[] = []

  constructor(size: number, setup: Omit<WorkerSetup, 'making'>) {
    this.size = size
    this.#setup = setup
    unused.register(this, this.#lanes)
  }

  /** The running workers; those that ended since are replaced. */
  lanes(): readonly Lane[] {
    for (let i = 0; i < this.size; i++) {
      if (this.#lanes[i]?.hasEnded ?? true) this.#lanes[i] = new Lane(i, this.#setup)
    }
    return [...this.#lanes]
  }

  /** Ends the workers; passes that wait for them get an error. */
  close(): void {
    closeAll(this.#lanes)
  }
}
