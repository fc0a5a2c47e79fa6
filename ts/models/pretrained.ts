/** Weights from a file: what has to fit, and what may differ. */
import { WickError } from '../errors.ts'
import { type Layer, Linear, type StateDict } from '../nn/index.ts'
import { loadSafetensors } from '../tensor/index.ts'

/** Where a model's starting weights come from. */
export interface PretrainedOptions {
  /**
   * A safetensors file with torchvision's or timm's state dict of this model. Without `numClasses` the model gets as many classes
   * as the file has. A `numClasses` that differs from the file's drops the file's head: the model's keeps its new initial
   * values. Everything else has to fit.
   */
  pretrained?: string | undefined
}

/** What `loadPretrained` asks of a model: a linear head, or one that does nothing, in the field `fc`. */
interface ModelWithHead extends Layer {
  readonly fc: Layer
}

/**
 * Makes a model with `build(classes)` and loads the file at `path` into it; see `PretrainedOptions`. `numClasses` is what the user
 * asked for. `BAD_FILE` if the file can't be read; `SHAPE_MISMATCH` or `STATE_DICT_MISMATCH` if it is of another model.
 */
export function loadPretrained<M extends ModelWithHead>(
  path: string,
  numClasses: number | undefined,
  build: (numClasses: number | undefined) => M,
): M {
  const state = loadSafetensors(path)
  try {
    const model = build(numClasses ?? state['fc.weight']?.shape[0])
    load(model, state, path, numClasses !== undefined)
    return model
  } finally {
    for (const t of Object.values(state)) t.dispose()
  }
}

/** Loads `state` into `model`; the head may differ if `ownHead`. What the file lacks and may lack is the model's own. */
function load(model: ModelWithHead, state: StateDict, path: string, ownHead: boolean): void {
  const isHead = (name: string) => name.startsWith('fc.')
  const classes = model.fc instanceof Linear ? model.fc.outFeatures : 0
  const drop = ownHead && classes !== state['fc.weight']?.shape[0]
  const given = new Map(Object.entries(state).filter(([name]) => !(drop && isHead(name))))
  const own = model.stateDict()
  for (const [name, tensor] of Object.entries(own)) {
    // Weights that were saved before PyTorch 0.4.1 have no counters.
    const mayLack = name.endsWith('.num_batches_tracked') || (drop && isHead(name))
    if (mayLack && !given.has(name)) given.set(name, tensor)
  }
  try {
    model.loadStateDict(given)
  } catch (error) {
    if (!(error instanceof WickError)) throw error
    throw new WickError(error.code, `${path}: ${error.message}`, { details: error.details, cause: error })
  } finally {
    for (const t of Object.values(own)) t.dispose()
  }
}
