/**
 * `Metric`: something that is measured over many batches.
 *
 * ```ts
 * const accuracy = new metrics.Accuracy({ task: 'multiclass', numClasses: 10 })
 * for await (const [images, labels] of loader) accuracy.update(model.forward(images), labels)
 * console.log(await accuracy.compute())
 * accuracy.reset()
 * ```
 *
 * What has been seen is kept as tensors on the device of the batches; `update` never waits for it, so it may be called inside a
 * step. `compute` waits, reads the state and does the rest on the host in float64.
 */
import { badOption, WickError } from '../errors.ts'
import { checkForm, type Form, isCount, listOf, withFields } from '../forms.ts'
import { keep, noGrad, scope, Tensor, zeros } from '../tensor/index.ts'

/** How a state joins with that of another process, or of another metric in `merge`. */
export type StateReduction = 'sum' | 'cat'

/** States of a metric by name: a tensor that is summed, or a list of tensors. */
export interface MetricState {
  num_updates: number
  [name: string]: number | Tensor | readonly Tensor[]
}

const isMetricState: Form<MetricState> = (value): value is MetricState => hasUpdates(value)
const hasUpdates = withFields({ num_updates: isCount })
const isTensors = listOf((value): value is Tensor => value instanceof Tensor)

/** Base class of metrics. A subclass declares its states and says what a batch adds to them and what they amount to. */
export abstract class Metric<Args extends readonly unknown[], Value> {
  readonly #sums = new Map<string, Tensor>()
  readonly #lists = new Map<string, Tensor[]>()
  readonly #constructorArgs: readonly unknown[]
  #updates = 0

  /** A subclass hands on what its own constructor got: `clone` makes the copy with it. */
  constructor(...constructorArgs: readonly unknown[]) {
    this.#constructorArgs = constructorArgs
  }

  /** Batches seen since the last reset. */
  get numUpdates(): number {
    return this.#updates
  }

  /** Adds the batch to the states. Gradients are off, and what is made is freed unless `append` keeps it. */
  protected abstract accumulate(...args: Args): void

  /** What the metric amounts to so far; waits for the device. NaN where nothing was seen, unless a metric says otherwise. */
  abstract compute(): Promise<Value>

  /** Takes a batch into account. */
  update(...args: Args): void {
    const device = args.find(arg => arg instanceof Tensor)?.device
    if (device !== undefined) this.#moveTo(device)
    noGrad(() => scope(() => this.accumulate(...args)))
    this.#updates++
  }

  /** Declares a state of zeros that batches are added to, in float64. */
  protected addSum(name: string, shape: readonly number[]): void {
    this.#sums.set(name, keep(zeros(shape, { dtype: 'float64', device: 'cpu' })))
  }

  /** Declares a state that is a list of tensors. */
  protected addList(name: string): void {
    this.#lists.set(name, [])
  }

  /** The tensor of a state that is summed, for ops in place. */
  protected sum(name: string): Tensor {
    return this.#sums.get(name)!
  }

  /** The tensors of a list. */
  protected list(name: string): readonly Tensor[] {
    return this.#lists.get(name)!
  }

  /** Adds a tensor to a list. */
  protected append(name: string, tensor: Tensor): void {
    this.#lists.get(name)!.push(keep(tensor.detach().clone()))
  }

  /** The elements of a state, in order: of a list those of all its tensors. */
  protected async read(name: string): Promise<number[]> {
    const tensors = this.#lists.get(name) ?? [this.sum(name)]
    const parts = await Promise.all(tensors.map(async tensor => Array.from(await tensor.data(), Number)))
    return parts.length === 1 ? parts[0]! : parts.flat()
  }

  #moveTo(device: string): void {
    for (const [name, tensor] of this.#sums) {
      if (tensor.device === device) continue
      this.#sums.set(name, keep(tensor.to(device)))
      tensor.dispose()
    }
  }

  /** Forgets everything. */
  reset(): void {
    for (const tensor of this.#sums.values()) tensor.zero_()
    for (const list of this.#lists.values()) {
      for (const tensor of list) tensor.dispose()
      list.length = 0
    }
    this.#updates = 0
  }

  /** Takes over what `other`, a metric of the same kind and options, has seen as well: sums are added, lists joined. */
  merge(other: this): void {
    if (other.constructor !== this.constructor) {
      throw badOption(`${this.constructor.name}.merge`, `can't merge a ${other.constructor.name}`)
    }
    this.combine(other)
    this.#updates += other.#updates
  }

  /** Joins the states of `other` with this metric's. */
  protected combine(other: this): void {
    noGrad(() =>
      scope(() => {
        for (const [name, tensor] of this.#sums) tensor.add_(other.sum(name).to(tensor.device))
        for (const name of this.#lists.keys()) for (const tensor of other.list(name)) this.append(name, tensor)
      }),
    )
  }

  /** How each state joins with another process's. */
  get stateReductions(): Record<string, StateReduction> {
    const sums = [...this.#sums.keys()].map(name => [name, 'sum'] as const)
    return Object.fromEntries([...sums, ...[...this.#lists.keys()].map(name => [name, 'cat'] as const)])
  }

  /** The states and the number of batches; the tensors are the metric's own. */
  stateDict(): MetricState {
    const lists = Object.fromEntries([...this.#lists].map(([name, list]) => [name, [...list]]))
    return { num_updates: this.#updates, ...Object.fromEntries(this.#sums), ...lists }
  }

  /** Goes on from a state of `stateDict()`. Throws `STATE_DICT_MISMATCH` if it isn't one of such a metric. */
  loadStateDict(state: MetricState): void {
    this.checkStateDict(state)
    this.reset()
    noGrad(() =>
      scope(() => {
        for (const [name, tensor] of this.#sums) tensor.copy_((state[name] as Tensor).to(tensor.device))
        for (const name of this.#lists.keys()) for (const t of state[name] as Tensor[]) this.append(name, t)
      }),
    )
    this.#updates = state.num_updates
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isMetricState)
    for (const [name, tensor] of this.#sums) {
      const given = state[name]
      if (!(given instanceof Tensor) || String(given.shape) !== String(tensor.shape)) throw this.#mismatch(name)
    }
    for (const name of this.#lists.keys()) if (!isTensors(state[name])) throw this.#mismatch(name)
  }

  /** Another metric of the same kind and options that has seen the same. */
  clone(): this {
    const copy: this = Reflect.construct(this.constructor, this.#constructorArgs)
    copy.loadStateDict(this.stateDict())
    return copy
  }

  #mismatch(name: string): WickError {
    return new WickError('STATE_DICT_MISMATCH', `the state doesn't fit this ${this.constructor.name}: '${name}'`)
  }

  /** Frees the states; the metric can't be used afterwards. */
  dispose(): void {
    this.reset()
    for (const tensor of this.#sums.values()) tensor.dispose()
  }
}

/** `a / b`, and `otherwise` where `b` is 0. */
export function ratio(a: number, b: number, otherwise = 0): number {
  return b === 0 ? otherwise : a / b
}

/** Throws `SHAPE_MISMATCH` unless both tensors have the same shape. */
export function checkSameShape(op: string, preds: Tensor, target: Tensor): void {
  if (String(preds.shape) === String(target.shape)) return
  const operands = [preds, target].map(t => `${t.dtype}[${t.shape.join(', ')}]`)
  throw new WickError('SHAPE_MISMATCH', 'predictions and targets differ in shape', { op, details: { operands } })
}

/** The sum of numbers. */
export function total(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}
