/** Random numbers: counter-based (Philox), so the same seed gives the same numbers on every device and in every mode. */
import { badOption } from '../errors.ts'
import { native } from '../native/index.ts'

const made: number[] = []

/** The engine's numbers of all streams, in the order in which they were made. */
export function generatorIds(): readonly number[] {
  return made
}

/** A stream of random numbers of its own; its numbers depend only on its seed and on what was drawn from it. */
export class Generator {
  /** The engine's number of the stream. */
  readonly id: number

  constructor(seed = 0) {
    this.id = native.newGenerator(checkedSeed('Generator', seed))
    made.push(this.id)
  }

  /** Starts over from `seed`. */
  manualSeed(seed: number): this {
    native.setGeneratorState(this.id, checkedSeed('manualSeed', seed), 0)
    return this
  }

  /** The seed that it started from. */
  initialSeed(): number {
    return native.generatorState(this.id)[0]
  }

  /** Where the stream stands: plain numbers, for checkpoints. */
  getState(): GeneratorState {
    return state(this.id)
  }

  /** Goes on from a state of `getState`. */
  setState({ seed, offset }: GeneratorState): this {
    native.setGeneratorState(this.id, seed, offset)
    return this
  }
}

/** Where a generator stands. */
export interface GeneratorState {
  seed: number
  offset: number
}

function state(id: number): GeneratorState {
  const [seed, offset] = native.generatorState(id)
  return { seed, offset }
}

function checkedSeed(op: string, seed: number): number {
  if (Number.isSafeInteger(seed)) return seed
  throw badOption(op, `a seed must be a whole number, not ${String(seed)}`)
}

/** The engine's number of a generator; without one, that of the global generator. */
export function generatorId(generator: Generator | undefined): number {
  return generator === undefined ? -1 : generator.id
}

/** Seeds the generator that random ops use by default. */
export function manualSeed(seed: number): void {
  native.manualSeed(checkedSeed('manualSeed', seed))
}

/** Where the default generator stands. */
export function getRngState(): GeneratorState {
  return state(-1)
}

/** Lets the default generator go on from a state of `getRngState`. */
export function setRngState({ seed, offset }: GeneratorState): void {
  native.setGeneratorState(-1, seed, offset)
}
