/** `ModelFreezer`: freezes and unfreezes a model group by group, for transfer learning. */
import { checkOptions, WickError } from '../errors.ts'
import { BatchNorm1d, BatchNorm2d, type Module, type Parameter } from '../nn/index.ts'

/** A module without children, or a direct child of the model. */
export interface FreezerLayer {
  /** The number of the group, from the front and from the back. */
  layerGroupIdx: readonly [fromFront: number, fromBack: number]
  module: Module
  /** Of a group: whether any parameter is frozen. Of a layer without parameters: whether it is in evaluation mode. */
  isFrozen: boolean
}

/** Parameters that were unfrozen, by group: each is ready for `optimizer.addParamGroup`. */
export type UnfrozenGroups = Record<number, { params: Parameter[] }>

/**
 * Freezes and unfreezes the groups of a model: its direct children, numbered from 0, or from -1 backwards. Making one unfreezes
 * everything. Batch norms stay trainable unless `freezeBatchNorms`.
 *
 * ```ts
 * const freezer = new ModelFreezer(model)
 * freezer.freeze() // all but the last group
 * await trainer.train({ trainDataset, numEpochs: 2 })
 * for (const group of Object.values(freezer.unfreeze({ fromIndex: -2 }))) optimizer.addParamGroup({ ...group, lr: 1e-5 })
 * ```
 */
export class ModelFreezer {
  readonly model: Module
  readonly #freezeBatchNorms: boolean
  readonly #groups: readonly Module[]
  readonly #layers: readonly { group: number; module: Module }[]

  constructor(model: Module, options: { freezeBatchNorms?: boolean | undefined } = {}) {
    checkOptions('ModelFreezer', options, ['freezeBatchNorms'])
    this.model = model
    this.#freezeBatchNorms = options.freezeBatchNorms ?? false
    model.requiresGrad_(true)
    this.#groups = model.children()
    this.#layers = this.#groups.flatMap((root, group) => leavesOf(root).map(module => ({ group, module })))
  }

  /** The groups, in order. */
  getLayerGroups(): FreezerLayer[] {
    return this.#groups.map((module, group) => ({
      layerGroupIdx: this.#indices(group),
      module,
      isFrozen: module.parameters().some(p => !p.requiresGrad),
    }))
  }

  /** The modules without children, in order. */
  getLayers(): FreezerLayer[] {
    return this.#layers.map(({ group, module }) => {
      const parameters = module.parameters()
      const isFrozen = parameters.length > 0 ? parameters.some(p => !p.requiresGrad) : !module.training
      return { layerGroupIdx: this.#indices(group), module, isFrozen }
    })
  }

  /** The parameters that aren't frozen. */
  getTrainableParameters(): Parameter[] {
    return this.model.parameters().filter(p => p.requiresGrad)
  }

  /** Freezes the groups from `fromIndex` (default 0) to `toIndex` (default -2), both included. */
  freeze(
    options: {
      fromIndex?: number | undefined
      toIndex?: number | undefined
      /** Whether to put them in evaluation mode as well. Default false. */
      setModulesAsEval?: boolean | undefined
    } = {},
  ): void {
    checkOptions('ModelFreezer.freeze', options, ['fromIndex', 'toIndex', 'setModulesAsEval'])
    const { fromIndex = 0, toIndex = -2, setModulesAsEval = false } = options
    for (const { module } of this.#between('freeze', fromIndex, toIndex)) {
      for (const p of module.parameters()) p.requiresGrad_(false)
      if (setModulesAsEval) module.eval()
    }
  }

  /**
   * Unfreezes the groups from `fromIndex` (default -1) to `toIndex` (default 0), both included. Gives the parameters that were
   * frozen until now, by group.
   */
  unfreeze(
    options: {
      fromIndex?: number | undefined
      toIndex?: number | undefined
      /** Whether to put them in training mode as well. Default true. */
      setModulesAsTraining?: boolean | undefined
    } = {},
  ): UnfrozenGroups {
    checkOptions('ModelFreezer.unfreeze', options, ['fromIndex', 'toIndex', 'setModulesAsTraining'])
    const { fromIndex = -1, toIndex = 0, setModulesAsTraining = true } = options
    const changed: UnfrozenGroups = {}
    for (const { group, module } of this.#between('unfreeze', fromIndex, toIndex)) {
      const frozen = module.parameters().filter(p => !p.requiresGrad)
      for (const p of frozen) p.requiresGrad_(true)
      if (setModulesAsTraining) module.train()
      if (frozen.length === 0) continue
      changed[group] ??= { params: [] }
      changed[group].params.push(...frozen)
    }
    return changed
  }

  /** The layers of a range of groups, in either direction, without batch norms that stay as they are. */
  #between(method: string, from: number, to: number): { group: number; module: Module }[] {
    const [a, b] = [this.#position(method, from), this.#position(method, to)]
    const [first, last] = [Math.min(a, b), Math.max(a, b)]
    return this.#layers.filter(({ group, module }) => {
      if (group < first || group > last) return false
      return this.#freezeBatchNorms || !(module instanceof BatchNorm1d || module instanceof BatchNorm2d)
    })
  }

  #position(method: string, index: number): number {
    const count = this.#groups.length
    if (Number.isInteger(index) && index >= -count && index < count) return index < 0 ? index + count : index
    throw new WickError('INDEX_OUT_OF_RANGE', `group ${index} of a model with ${count} groups`, {
      op: `ModelFreezer.${method}`,
    })
  }

  #indices(group: number): readonly [number, number] {
    return [group, group - this.#groups.length]
  }
}

function leavesOf(module: Module): Module[] {
  const children = module.children()
  return children.length === 0 ? [module] : children.flatMap(leavesOf)
}
