/** The main thread's side of a loader's workers: starts them, asks for batches, and turns what goes wrong into errors. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { WickError } from '../../errors.ts'
import { errorParts } from './failure.ts'
import type { Answer, End, ErrorParts, ModuleSetup, Pass, Request, WorkerSetup } from './messages.ts'
import type { Form } from './packing.ts'
import type { Turn } from './turns.ts'

/** A batch in a worker's ring. */
export interface Arrived {
  readonly form: Form
  readonly items: number
  readonly buffer: SharedArrayBuffer
  readonly start: number
  /** Gives the region back, after which it may not be read. */
  release(): void
}

/** That a worker went through items without a batch; there are none if its share has ended. */
export interface Passed {
  readonly form?: undefined
  readonly items: number
}

/** A batch that a worker was asked for. */
export interface Asked {
  readonly worker: number
  readonly arriving: Promise<Arrived | Passed>
  /** Ends the worker: the batch took longer than `ms` milliseconds. */
  expire(ms: number): void
}

interface Waiting {
  readonly indices: Uint32Array
  readonly pass: Pass
  resolve(arrived: Arrived | Passed): void
  reject(error: WickError): void
}

/** Compiled or not, as this file is. */
const threadUrl = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url)

/** One worker thread. */
class Lane {
  readonly #index: number
  readonly #worker: Worker
  /** The loader's own: what a dataset's module posts to its parent is nobody's business here. */
  readonly #port: MessagePort
  readonly #making: Int32Array<SharedArrayBuffer>
  /** Whether items are numbered in the worker's share. */
  readonly #shares: boolean
  /** By request, oldest first. */
  readonly #waiting = new Map<number, Waiting>()
  #ring = new SharedArrayBuffer(0)
  #released: number[] = []
  #requests = 0
  /** Why the worker can't be used any more. */
  #end: { reason: string; error?: ErrorParts } | undefined

  constructor(index: number, numWorkers: number, setup: ModuleSetup) {
    this.#index = index
    this.#shares = setup.length === null
    this.#making = new Int32Array(new SharedArrayBuffer(4))
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#port.on('message', (answer: Answer) => this.#receive(answer))
    this.#port.on('messageerror', error => this.#fail('sent what could not be read', errorParts(error)))
    const workerData: WorkerSetup = { ...setup, id: index, numWorkers, making: this.#making, port: port2 }
    this.#worker = new Worker(threadUrl, { workerData, transferList: [port2], name: `wick-loader-${index}` })
    const ended = (reason: string, error?: ErrorParts) => {
      // What it sent before comes first.
      for (let last = receiveMessageOnPort(port1); last; last = receiveMessageOnPort(port1)) this.#receive(last.message)
      this.#fail(reason, error)
    }
    this.#worker.on('error', error => ended('failed', errorParts(error)))
    this.#worker.on('exit', code => ended(`ended with exit code ${code}`))
    this.#hold(false)
  }

  /** Whether a program waits for the worker before it ends. */
  #hold(on: boolean): void {
    for (const held of [this.#worker, this.#port]) {
      if (on) held.ref()
      else held.unref()
    }
  }

  /** Whether the worker has ended. */
  get hasEnded(): boolean {
    return this.#end !== undefined
  }

  /** Asks for a batch. */
  request(pass: Pass, { batch, indices, skips }: Turn): Asked {
    const id = this.#requests++
    const arriving = new Promise<Arrived | Passed>((resolve, reject) => {
      const waiting = { indices, pass, resolve, reject }
      if (this.#end) {
        reject(this.#ended(waiting))
        return
      }
      // A program doesn't end while it waits for a batch; a worker with nothing to do doesn't hold it up.
      if (this.#waiting.size === 0) this.#hold(true)
      this.#waiting.set(id, waiting)
      this.#send({ kind: 'batch', id, pass, batch, indices, skips, released: this.#released })
      this.#released = []
    })
    // An error belongs to whoever waits for this batch; until then it is not unhandled.
    arriving.catch(() => {})
    return { worker: this.#index, arriving, expire: ms => this.#fail(`made no batch within ${ms} ms`) }
  }

  /** Ends `pass`, and rejects what was asked for in it. */
  end(pass: Pass): void {
    if (!this.#end) this.#send({ kind: 'end', pass })
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

  #send(message: Request | End): void {
    this.#port.postMessage(message)
  }

  #receive(answer: Answer): void {
    if (answer.kind === 'broken') {
      this.#fail('could not make its dataset', answer.error)
      return
    }
    const waiting = this.#settle(answer.id)
    if (answer.kind === 'batch') {
      const { form, items, region, start } = answer
      if (answer.ring) this.#ring = answer.ring
      if (waiting)
        waiting.resolve({ form, items, buffer: this.#ring, start, release: () => this.#released.push(region) })
      else this.#released.push(region)
      return
    }
    if (!waiting) return
    if (answer.kind === 'passed') {
      waiting.resolve({ items: answer.items })
      return
    }
    const { item, error } = answer
    const what = item === undefined ? `collating ${this.#items(waiting.indices)}` : this.#items([item])
    waiting.reject(this.#error(`${what}: ${error.message}`, waiting, error, item))
  }

  /** Takes a request off the list. */
  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#hold(false)
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
    this.#port.close()
    void this.#worker.terminate()
  }

  #ended(waiting: Waiting, item?: number): WickError {
    const { reason, error } = this.#end ?? { reason: 'ended' }
    const during =
      item === undefined ? `asked for ${this.#items(waiting.indices)}` : `while it made ${this.#items([item])}`
    return this.#error(`the worker ${reason}, ${during}${error ? `: ${error.message}` : ''}`, waiting, error, item)
  }

  /** Items by name. */
  #items(indices: ArrayLike<number>): string {
    const names = `${indices.length === 1 ? 'item' : 'items'} ${Array.from(indices).join(', ')}`
    return this.#shares ? `${names} of worker ${this.#index}` : names
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

/** The workers of pools that were collected. */
const unused = new FinalizationRegistry<Lane[]>(closeAll)

function closeAll(lanes: Lane[]): void {
  for (const lane of lanes.splice(0)) lane.close()
}

/** The workers of a loader, started when they are first needed and kept from pass to pass. */
export class WorkerPool {
  readonly size: number
  readonly #setup: ModuleSetup
  readonly #lanes: Lane[] = []

  constructor(size: number, setup: ModuleSetup) {
    this.size = size
    this.#setup = setup
    unused.register(this, this.#lanes)
  }

  /** The running workers; those that ended since are replaced. */
  lanes(): readonly Lane[] {
    for (let i = 0; i < this.size; i++) {
      if (this.#lanes[i]?.hasEnded ?? true) this.#lanes[i] = new Lane(i, this.size, this.#setup)
    }
    return [...this.#lanes]
  }

  /** Ends the workers; passes that wait for them get an error. */
  close(): void {
    closeAll(this.#lanes)
  }
}
