/** The state of every random stream of a process: the global one, those made with `new Generator`, and a loader's own. */
import type { BatchLoader } from '../data/batches.ts'
import { type Form, isNumber, listOf, orNull, withFields } from '../forms.ts'
import { native } from '../native/index.ts'
import { Generator } from '../tensor/index.ts'
import { generatorIds } from '../tensor/random.ts'

/** Seed and offset. */
type Stream = readonly [seed: number, offset: number]

/** Where the streams stand, as plain data. */
export interface RandomState {
  global: Stream
  /** The training loader's generator, if it has one. */
  loader: Stream | null
  /** All generators, in the order in which they were made: the same program makes the same ones. */
  generators: readonly Stream[]
}

const isStream: Form<Stream> = (value): value is Stream => isNumbers(value) && value.length === 2
const isNumbers = listOf(isNumber)

/** Whether a value that was read says where streams stand. */
export const isRandomState: Form<RandomState> = withFields<RandomState>({
  global: isStream,
  loader: orNull(isStream),
  generators: listOf(isStream),
})

/** The global generator's number. */
const GLOBAL = -1

/** Where all streams stand; `loader` is the training loader. */
export function randomState(loader: BatchLoader<unknown> | null): RandomState {
  const own = loaderGenerator(loader)
  return {
    global: native.generatorState(GLOBAL),
    loader: own ? native.generatorState(own.id) : null,
    generators: generatorIds().map(id => native.generatorState(id)),
  }
}

/** Lets all streams go on from `state`. */
export function setRandomState(state: RandomState, loader: BatchLoader<unknown> | null): void {
  const ids = generatorIds()
  for (const [i, stream] of state.generators.entries()) {
    const id = ids[i]
    if (id !== undefined) native.setGeneratorState(id, ...stream)
  }
  native.setGeneratorState(GLOBAL, ...state.global)
  const own = loaderGenerator(loader)
  if (own && state.loader) native.setGeneratorState(own.id, ...state.loader)
}

/** Whether this process lacks generators that `state` has. */
export function lacksGenerators(state: RandomState): boolean {
  return generatorIds().length < state.generators.length
}

/** The generator that decides a loader's order, if it isn't the global one. */
function loaderGenerator(loader: unknown): Generator | null {
  for (let at = loader; typeof at === 'object' && at !== null; ) {
    const inner = ['loader', 'batchSampler', 'sampler'].map(name => Reflect.get(at as object, name)).find(isObject)
    const generator: unknown = Reflect.get(at, 'generator')
    if (generator instanceof Generator) return generator
    at = inner
  }
  return null
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null
