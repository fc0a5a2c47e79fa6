/**
 * `AveragedModel`: running averages of a module's parameters and buffers. The averages stand in for the module's own tensors
 * while its code runs, so nothing of the module is copied but these.
 */
import { WickError } from '../errors.ts'
import { checkForm, isCount, isRecord, withFields } from '../forms.ts'
import { native } from '../native/index.ts'
import { Buffer, Module, Parameter, type StateDict } from '../nn/index.ts'
import { isFloating } from '../tensor/dtype.ts'
import { noGrad, scope, type Tensor } from '../tensor/index.ts'
import { isPromise } from '../tensor/tree.ts'

interface Pair {
  name: string
  own: Tensor
  average: Parameter | Buffer
}

/** State of an average: the updates, and the averages by name. */
export interface AverageState {
  num_updates: number
  module: StateDict
}

const isAverageState = withFields({ num_updates: isCount, module: isRecord })

/** A module that computes what `model` computes, with averages in place of its tensors; always in evaluation mode. */
class Averages extends Module {
  readonly #model: Module
  readonly #pairs: readonly Pair[]
  readonly #using: <T>(fn: () => T) => T

  constructor(model: Module, pairs: readonly Pair[], using: <T>(fn: () => T) => T) {
    super()
    this.#model = model
    this.#pairs = pairs
    this.#using = using
    this.training = false
  }

  forward(...args: unknown[]): unknown {
    return this.#using(() => noGrad(() => this.#model.forward(...args)))
  }

  override train(): this {
    return this
  }

  protected override *moduleFields(): Iterable<readonly [string, unknown]> {
    for (const { name, average } of this.#pairs) yield [name, average]
  }
}

/** Base of `EMA` and `SWA`. */
export abstract class AveragedModel<Args extends unknown[] = unknown[], Out = unknown> {
  /** The averages as a module: `forward`, `stateDict`, `parameters` and so on. It is always in evaluation mode. */
  readonly module: Module<Args, Out>
  readonly #model: Module<Args, Out>
  readonly #pairs: readonly Pair[]
  #updates = 0
  #isInUse = false

  /** Averages that begin with the model's tensors as they are now. */
  protected constructor(model: Module<Args, Out>) {
    if (!(model instanceof Module)) throw new WickError('BAD_OPTION', 'takes a Module', { op: new.target.name })
    this.#model = model
    // What an average is made from is freed with the scope; parameters and buffers outlive it.
    const pairs: Pair[] = []
    scope(() => {
      for (const [name, own] of model.namedParameters()) {
        pairs.push({ name, own, average: new Parameter(own.detach().clone(), { requiresGrad: false }) })
      }
      for (const [name, own] of model.namedBuffers()) {
        pairs.push({ name, own, average: new Buffer(own.clone(), { persistent: own.persistent }) })
      }
    })
    this.#pairs = pairs
    this.module = new Averages(model, this.#pairs, fn => this.using(fn)) as Module as Module<Args, Out>
  }

  /** Updates so far. */
  get numUpdates(): number {
    return this.#updates
  }

  /** @internal Counts updates that were replayed without `update`. */
  countReplayed(updates: number): void {
    this.#updates += updates
  }

  /** The weight of the model's tensors in update `n` (from 1), for a parameter or a buffer. */
  protected abstract weight(n: number, isBuffer: boolean): number

  /** Takes the model's tensors into the averages; of integers the latest are kept. */
  update(): void {
    this.#updates++
    const changes = (isBuffer: boolean) =>
      this.weight(this.#updates, isBuffer) !== this.weight(this.#updates + 1, isBuffer)
    if (changes(true) || changes(false)) native.needsJavascript()
    noGrad(() => {
      for (const { own, average } of this.#pairs) {
        const weight = this.weight(this.#updates, average instanceof Buffer)
        const source = own.device === average.device ? own : own.to(average.device)
        if (weight === 1 || !isFloating(average.dtype)) average.copy_(source)
        else average.lerp_(source, weight)
      }
    })
  }

  /** Makes the averages what the model's tensors are. */
  set(): void {
    noGrad(() => {
      for (const { own, average } of this.#pairs) average.copy_(own)
    })
  }

  /** Copies the averages into `model`, by default the one they are of. */
  applyTo(model: Module = this.#model): void {
    model.loadStateDict(this.module.stateDict())
  }

  /**
   * Runs `fn` with the averages in place of the model's tensors, and the model in evaluation mode: what `fn` computes with the
   * model it computes with the averages. Afterwards all is as before. `fn` may be async; nothing else may use the model then.
   */
  using<T>(fn: () => T): T {
    if (this.#isInUse) return fn()
    this.#followDevice()
    const modes = this.#model.modules().map(module => [module, module.training] as const)
    this.#exchange()
    this.#model.eval()
    const restore = () => {
      this.#exchange()
      for (const [module, training] of modes) module.training = training
    }
    let later = false
    try {
      const result = fn()
      if (!isPromise(result)) return result
      later = true
      return Promise.resolve(result).finally(restore) as T
    } finally {
      if (!later) restore()
    }
  }

  /** The model may have been moved to another device or dtype since. */
  #followDevice(): void {
    for (const { own, average } of this.#pairs) {
      if (own.device === average.device && own.dtype === average.dtype) continue
      this.module.to({ device: own.device as 'cpu' })
      break
    }
  }

  #exchange(): void {
    this.#isInUse = !this.#isInUse
    for (const { own, average } of this.#pairs) own.exchange(average)
  }

  /** The number of updates and the averages; these share memory. */
  stateDict(): AverageState {
    return { num_updates: this.#updates, module: this.module.stateDict() }
  }

  /** Takes over a state of `stateDict()`. Throws `STATE_DICT_MISMATCH` or `SHAPE_MISMATCH` if it doesn't fit. */
  loadStateDict(state: AverageState): void {
    this.checkStateDict(state)
    this.module.loadStateDict(state.module)
    this.#updates = state.num_updates
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isAverageState)
    this.module.checkStateDict(state.module)
  }

  /** Frees the averages. */
  dispose(): void {
    for (const { average } of this.#pairs) average.dispose()
  }
}
