/**
 * A program that runs one benchmark job on request, in a process of its own.
 *
 * The protocol is one line each way: the program prints `@bench {…}`, an `Introduction`, once it is loaded. It answers the line `warm` on its stdin with
 * `@bench {}` when it is warm, every line `run` with `@bench {…}`, the result of one timed round, and wick's side the line `profile` with a
 * `StepProfile`. Everything else that it prints is its own business (progress bars, for example).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Floors } from './floors.ts'
import type { StepProfile } from './profile.ts'
import type { Timings } from './timing.ts'

/** What a round reports. */
export interface Round extends Timings {
  /** The high-water mark of tensors in bytes; PyTorch reports none on CPU. */
  peakBytes?: number
  /** The share of its time that a loop over images waits for them. */
  waitShare?: number
}

/** What a program says of itself; wick's side counts the floors and names the GPU. */
interface Introduction extends Partial<Floors> {
  /** Name and version. */
  version: string
  deviceName?: string
}

export class Contestant {
  readonly name: string
  readonly rounds: Round[] = []
  profile: StepProfile | undefined
  introduction: Introduction = { version: '' }
  /** Why it is out of the race. */
  failure: string | undefined
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>
  readonly #limitMs: number
  readonly #failed: Promise<never>
  #complaints = ''

  /** Starts a program. No answer may take longer than `limitSeconds`. */
  constructor(name: string, command: string, args: string[], limitSeconds: number) {
    this.name = name
    this.#limitMs = limitSeconds * 1000
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const { stdin, stdout, stderr } = this.#child
    if (!stdin || !stdout || !stderr) throw new Error(`${name}: no pipes`)
    stdin.on('error', () => {}) // A dead child shows in the answers.
    stderr.on('data', chunk => {
      this.#complaints = (this.#complaints + chunk).slice(-4000)
    })
    this.#failed = new Promise((_, reject) => {
      this.#child.once('error', error => reject(new Error(error.message)))
    })
    this.#failed.catch(() => {}) // It is awaited only while an answer is due.
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]()
  }

  /** Waits until it is loaded. */
  async load(): Promise<void> {
    await this.#orFail(async () => {
      this.introduction = await this.#answer<Introduction>()
    })
  }

  /** Warms it up. */
  async warm(): Promise<void> {
    await this.#orFail(() => this.#ask('warm'))
  }

  /** Runs one timed round and remembers its result. */
  async run(): Promise<void> {
    await this.#orFail(async () => {
      this.rounds.push(await this.#ask<Round>('run'))
    })
  }

  /** Where the time of some steps goes. */
  async profileSteps(): Promise<void> {
    await this.#orFail(async () => {
      this.profile = await this.#ask<StepProfile>('profile')
    })
  }

  /** Ends the program, and waits until it is gone, with the memory that it held. */
  async stop(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    const gone = new Promise(resolve => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }

  /** A failure takes this contestant out and leaves the others their race. */
  async #orFail(step: () => Promise<unknown>): Promise<void> {
    if (this.failure !== undefined) return
    try {
      await step()
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error)
      await this.stop()
    }
  }

  async #ask<T>(request: string): Promise<T> {
    this.#child.stdin?.write(`${request}\n`)
    return this.#answer<T>()
  }

  async #answer<T>(): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`no answer within ${this.#limitMs / 1000} s`)
      timer = setTimeout(() => reject(error), this.#limitMs)
    })
    try {
      for (;;) {
        const { value, done } = await Promise.race([this.#answers.next(), this.#failed, late])
        if (done) throw new Error(`ended without an answer: ${lastLines(this.#complaints)}`)
        const at = value.lastIndexOf('@bench ')
        if (at >= 0) return JSON.parse(value.slice(at + '@bench '.length)) as T
      }
    } finally {
      clearTimeout(timer)
    }
  }
}

/** The end of what a program complained about, where errors are. */
function lastLines(text: string): string {
  return text.trim().slice(-1000)
}
