/** `GradScaler`: keeps float16 gradients from vanishing, on the device. */
import { badOption, checkOptions } from '../errors.ts'
import { checkForm, isNumber, withFields } from '../forms.ts'
import { native } from '../native/index.ts'
import { wholeGroups } from '../nn/groups.ts'
import { full, getDefaultDevice, keep, Tensor } from '../tensor/index.ts'

/** What a `GradScaler` does with the scale; PyTorch's defaults. */
export interface GradScalerOptions {
  /** Where the scale is. Default: where tensors are made. */
  device?: string
  /** 65536. */
  initScale?: number
  /** Times this after `growthInterval` updates without an infinite gradient; 2. */
  growthFactor?: number
  /** Times this after an infinite or NaN gradient; 0.5. */
  backoffFactor?: number
  /** 2000. */
  growthInterval?: number
}

const isScalerState = withFields({ scale: isNumber, growth_tracker: isNumber })

/** What `GradScaler.step` asks of an optimizer. */
interface ScaledOptimizer {
  readonly paramGroups: readonly { params: readonly Tensor[] }[]
  step(options: { skip?: Tensor }): void
}

/**
 * Multiplies the loss so that small float16 gradients don't vanish, divides the gradients again before the update, and leaves the
 * update out where one is infinite or NaN. Nothing waits for the device. After torch.amp.GradScaler.
 *
 * ```ts
 * scaler.scale(loss).backward()
 * scaler.step(optimizer)
 * scaler.update()
 * ```
 */
export class GradScaler {
  readonly #scale: Tensor
  readonly #tracker: Tensor
  readonly #growthFactor: number
  readonly #backoffFactor: number
  readonly #growthInterval: number
  readonly #found = new Map<object, Tensor>()
  /** Not 0 where the last step was left out. */
  #skip: Tensor | undefined

  constructor(options: GradScalerOptions = {}) {
    const names = ['device', 'initScale', 'growthFactor', 'backoffFactor', 'growthInterval']
    checkOptions('GradScaler', options, names)
    const {
      device = getDefaultDevice(),
      initScale = 65536,
      growthFactor = 2,
      backoffFactor = 0.5,
      growthInterval = 2000,
    } = options
    if (!(initScale > 0 && growthFactor > 1 && backoffFactor > 0 && backoffFactor < 1 && growthInterval >= 1)) {
      throw badOption(
        'GradScaler',
        'needs initScale > 0, growthFactor > 1, 0 < backoffFactor < 1 and growthInterval >= 1',
      )
    }
    this.#scale = keep(full([], initScale, { dtype: 'float32', device }))
    this.#tracker = keep(full([], 0, { dtype: 'int32', device }))
    this.#growthFactor = growthFactor
    this.#backoffFactor = backoffFactor
    this.#growthInterval = growthInterval
  }

  /** `loss` times the scale. */
  scale(loss: Tensor): Tensor {
    return loss.mul(this.#scale)
  }

  /** Divides the gradients of the optimizer's parameters by the scale, once an update: call it before clipping. */
  unscale_(optimizer: ScaledOptimizer): void {
    if (this.#found.has(optimizer)) return
    const { groups, rest } = wholeGroups(optimizer.paramGroups.flatMap(group => group.params))
    if (rest.length > 0) throw badOption('GradScaler', 'a parameter belongs to no optimizer that shares its memory')
    this.#found.set(optimizer, new Tensor(native.unscale(groups, this.#scale.handle)))
  }

  /** Updates the parameters unless a gradient is infinite or NaN; `skip` leaves the update out too where it isn't 0. */
  step(optimizer: ScaledOptimizer, options: { skip?: Tensor } = {}): void {
    checkOptions('GradScaler.step', options, ['skip'])
    this.unscale_(optimizer)
    const found = this.#found.get(optimizer)
    if (found === undefined) return
    this.#skip = options.skip === undefined ? found : found.add(options.skip)
    optimizer.step({ skip: this.#skip })
  }

  /** Whether the last `step` was left out; waits for the device. Asked for in the scope of that step, otherwise false. */
  async stepWasSkipped(): Promise<boolean> {
    const skip = this.#skip
    return skip !== undefined && native.isLive(skip.handle) && Number(await skip.item()) !== 0
  }

  /** Chooses the scale for the next update. */
  update(): void {
    const { handle } = this.#scale
    for (const found of this.#found.values()) {
      const { handle: flag } = found
      native.updateScale(
        handle,
        this.#tracker.handle,
        flag,
        this.#growthFactor,
        this.#backoffFactor,
        this.#growthInterval,
      )
    }
    this.#found.clear()
  }

  /** The scale now; waits for the device. */
  async getScale(): Promise<number> {
    return this.#scale.item()
  }

  /** The scale and its count, under PyTorch's names; waits for the device. */
  async stateDict(): Promise<{ scale: number; growth_tracker: number }> {
    return { scale: Number(await this.#scale.item()), growth_tracker: Number(await this.#tracker.item()) }
  }

  /** Goes on from a state of `stateDict`. */
  loadStateDict(state: { scale: number; growth_tracker: number }): void {
    this.checkStateDict(state)
    this.#scale.fill_(state.scale)
    this.#tracker.fill_(state.growth_tracker)
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isScalerState)
  }
}
