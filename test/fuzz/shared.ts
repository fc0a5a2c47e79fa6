/** What the generators of whole programs share: seeded choices, the trace of a run, its comparison, their command line. */
import type { Tensor } from '../../ts/index.ts'
import { native } from '../../ts/native/index.ts'
import { memory, scope } from '../../ts/tensor/index.ts'
import { collect } from '../collected.ts'
import { bits, random } from './state.ts'

// Nothing that others left behind may be collected while tensors are counted.
collect()

/** Random choices of a program or of one of its instructions. */
export class Choices {
  readonly random: () => number

  constructor(seed: number) {
    this.random = random(Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b)
  }
  /** A whole number from 0, below `n`. */
  int(n: number): number {
    return Math.floor(this.random() * n)
  }
  chance(p: number): boolean {
    return this.random() < p
  }
  number(from: number, to: number): number {
    return from + this.random() * (to - from)
  }
  one<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!
  }
  /** Choices that don't shift those that follow, however many of them are made. */
  apart(): Choices {
    return new Choices(this.int(2 ** 31))
  }
  /** When something takes part: always, or, with probability `wild`, at one step, from one on, now and then. */
  schedule(wild: number, steps: number): (t: number) => boolean {
    const [always, at, kind, salt, period] = [
      !this.chance(wild),
      2 + this.int(steps - 3),
      this.int(6),
      this.int(1e6),
      2,
    ]
    if (always) return () => true
    const forms: ((t: number) => boolean)[] = [
      t => t === at,
      t => t >= at,
      t => t < at,
      t => t % (period + (salt % 3)) === 0,
      t => t !== at,
      t => random(salt + t * 7919)() < 0.25,
    ]
    return forms[kind]!
  }
  /** Float32 values from -1 to 1. */
  values(n: number): Float32Array {
    return Float32Array.from({ length: n }, () => this.random() * 2 - 1)
  }
}

/** An instruction that a program may be made of. */
export interface Kind<State, Out = void> {
  /** How often it is drawn; 1. */
  weight?: number
  /** How likely it takes part in some steps only; the program's. */
  wild?: number
  /** Whether a function of such instructions is pure: it reads and writes nothing but tensors. */
  pure?: boolean
  make: (c: Choices) => (s: State) => Out
}

/** Instructions that replay doesn't get right yet, by name, with the number of the defect: they are not drawn. */
export type Pending = Readonly<Record<string, number>>

/** An instruction of a program. */
export interface Instruction<State, Out = void> {
  name: string
  when: (t: number) => boolean
  run: (s: State) => Out
}

/** Draws `count` instructions. What is pending or not pure takes its place, so that the rest of a program stays as it is. */
export function draw<State, Out = void>(
  c: Choices,
  kinds: Readonly<Record<string, Kind<State, Out>>>,
  count: number,
  steps: number,
  { wild, pure, pending }: { wild: number; pure: boolean; pending: Pending },
): Instruction<State, Out>[] {
  const names = Object.keys(kinds).flatMap(name => Array.from({ length: kinds[name]!.weight ?? 1 }, () => name))
  const list: Instruction<State, Out>[] = []
  for (let i = 0; i < count; i++) {
    const name = c.one(names)
    const own = c.apart()
    const kind = kinds[name]!
    if (name in pending || (pure && !kind.pure)) continue
    const when = own.schedule(pure ? 0 : (kind.wild ?? wild), steps)
    list.push({ name, when, run: kind.make(own) })
  }
  return list
}

/** Lets the event loop turn: a few microtasks or, now and then, whole turns. */
export async function pause(c: Choices): Promise<void> {
  for (let i = c.int(4); i > 0; i--) await null
  if (c.chance(0.25)) await new Promise(resolve => setImmediate(resolve))
}

const message = (e: unknown) => (e instanceof Error ? e.message : String(e))

/** Everything that a user can see of a run, in order. */
export class Trace {
  readonly entries: string[] = []
  readonly #before = memory().tensors

  say(what: string, value: string | number | boolean | null): void {
    this.entries.push(`${what}: ${value}`)
  }
  /** The bits of a tensor, that there is none, or why they can't be read. */
  see(what: string, x: Tensor | null | undefined): void {
    this.try(what, () => this.say(what, x ? bits(x) : 'none'))
  }
  /** The bits of what `read` gives, whose tensors are freed. */
  look(what: string, read: () => Tensor | null): void {
    this.try(what, () => scope(() => this.see(what, read())))
  }
  /** Runs `f`; an error is seen. */
  try<T>(what: string, f: () => T): T | undefined {
    try {
      return f()
    } catch (e) {
      this.say(`${what} throws`, message(e))
      return undefined
    }
  }
  /** As `try`, for an asynchronous `f`. */
  async tryAsync<T>(what: string, f: () => Promise<T>): Promise<T | undefined> {
    try {
      return await f()
    } catch (e) {
      this.say(`${what} throws`, message(e))
      return undefined
    }
  }
  /** How many more tensors live than when the run began. */
  count(): void {
    this.say('live tensors', memory().tensors - this.#before)
  }
}

/** The first difference of two traces, or null. */
export function difference(what: string, a: Trace, b: Trace, names: readonly string[]): string | null {
  const [x, y] = [a.entries, b.entries]
  const at = x.findIndex((entry, i) => entry !== y[i])
  if (at < 0 && x.length === y.length) return null
  const i = at < 0 ? x.length : at
  const step = y.slice(0, i).findLast(entry => entry.startsWith('step')) ?? 'start'
  return `${what}, ${step}\n  expected ${x[i]}\n  found    ${y[i]}\n  ${names.join(', ')}`
}

/** Runs `f` with poisoned memory and the rule `mutant` broken; what runs afterwards sees none of it. */
export async function debugged<T>(
  { noFusion = false, copySlots = false, mutant = 0 },
  f: () => T | Promise<T>,
): Promise<T> {
  native.setDebug(noFusion, true, copySlots, mutant)
  try {
    return await f()
  } finally {
    native.setDebug(false, false, false, 0)
  }
}

/** How a generator's programs are compared: the first difference, or null. */
export type Compare = (seed: number, mutant: number) => Promise<string | null>
