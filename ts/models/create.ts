/** Models by the names that torchvision and timm give them. */
import { badOption, nearest } from '../errors.ts'
import type { ResNet } from './resnet.ts'
import {
  type ModelOptions,
  resnet18,
  resnet34,
  resnet50,
  resnet101,
  resnet152,
  resnext50_32x4d,
  wideResnet50_2,
} from './resnets.ts'

const builders = {
  resnet18,
  resnet34,
  resnet50,
  resnet101,
  resnet152,
  resnext50_32x4d,
  wide_resnet50_2: wideResnet50_2,
}

/** A name that `createModel` knows. */
export type ModelName = keyof typeof builders

/** The names that `createModel` knows. */
export function listModels(): ModelName[] {
  return Object.keys(builders).filter(isModel)
}

/** Whether `createModel` knows `name`. */
export function isModel(name: string): name is ModelName {
  return Object.hasOwn(builders, name)
}

/**
 * The model called `name`, with new weights or with those of a file. `BAD_OPTION` for an unknown name or option, which names the
 * nearest known one; `BAD_FILE`, `SHAPE_MISMATCH` or `STATE_DICT_MISMATCH` if the file doesn't fit.
 *
 * ```ts
 * const model = models.createModel('resnet50', { pretrained: 'resnet50.safetensors', numClasses: 37 })
 * ```
 */
export function createModel(name: ModelName, options: ModelOptions = {}): ResNet {
  if (isModel(name)) return builders[name](options)
  const near = nearest(String(name), listModels())
  const hint = near === undefined ? `known models: ${listModels().join(', ')}` : `did you mean '${near}'?`
  throw badOption('createModel', `unknown model '${String(name)}'; ${hint}`)
}
