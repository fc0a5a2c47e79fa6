/**
 * A program that runs one benchmark job on request, in a process of its own.
 *
 * The protocol is one line each way: the program prints `@bench {"ready": …}` once it is warm, and answers every line `run` on its stdin with
 * `@bench {…}`, the result of one timed round. Everything else it prints is its own business (progress bars, for example).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** What a round reports. */
export interface Round {
  /** Milliseconds a training step. */
  stepMs: number
  samplesPerSecond: number
  /** The engine's high-water mark in bytes; PyTorch reports none on CPU. */
  peakBytes?: number
}

export class Contestant {
  /** Name and version, as the program states them. */
  version = ''
  readonly rounds: Round[] = []
  readonly name: string
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>
  #complaints = ''

  private constructor(name: string, command: string, args: string[]) {
    this.name = name
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const { stdin, stdout, stderr } = this.#child
    if (!stdin || !stdout || !stderr) throw new Error(`${name}: no pipes`)
    stdin.on('error', () => {}) // A dead child shows in the answers.
    stderr.on('data', chunk => {
      this.#complaints = (this.#complaints + chunk).slice(-4000)
    })
    const failed = new Promise<never>((_, reject) => {
      this.#child.once('error', error => reject(new Error(`${name}: ${error.message}`)))
    })
    failed.catch(() => {}) // It is awaited only while an answer is due.
    const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
    this.#answers = { next: () => Promise.race([lines.next(), failed]) }
  }

  /** Starts a program and waits until it is warm. */
  static async start(name: string, command: string, args: string[]): Promise<Contestant> {
    const contestant = new Contestant(name, command, args)
    const { ready } = await contestant.#answer<{ ready: string }>()
    contestant.version = ready
    return contestant
  }

  /** Runs one timed round and remembers its result. */
  async run(): Promise<void> {
    this.#child.stdin?.write('run\n')
    this.rounds.push(await this.#answer<Round>())
  }

  /** Ends the program. */
  stop(): void {
    this.#child.stdin?.end()
    this.#child.kill()
  }

  async #answer<T>(): Promise<T> {
    for (;;) {
      const { value, done } = await this.#answers.next()
      if (done) throw new Error(`${this.name} ended without an answer:\n${this.#complaints}`)
      const at = value.lastIndexOf('@bench ')
      if (at >= 0) return JSON.parse(value.slice(at + '@bench '.length)) as T
    }
  }
}
