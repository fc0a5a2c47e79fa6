/**
 * `wick-ml/models`: known architectures under torchvision's names, with its state-dict keys and initial values.
 *
 * ```ts
 * import { models } from 'wick-ml'
 *
 * const model = models.resnet18({ numClasses: 10, stem: 'cifar' })
 * ```
 *
 * torchvision's weights load as they are, once `safetensors.torch.save_file(model.state_dict(), path)` has saved them in Python.
 */

export { createModel, isModel, listModels, type ModelName } from './create.ts'
export type { PretrainedOptions } from './pretrained.ts'
export {
  BasicBlock,
  type Block,
  type BlockClass,
  type BlockOptions,
  Bottleneck,
  ResNet,
  type ResNetOptions,
  type Stem,
} from './resnet.ts'
export {
  type ModelOptions,
  resnet18,
  resnet34,
  resnet50,
  resnet101,
  resnet152,
  resnext50_32x4d,
  wideResnet50_2,
} from './resnets.ts'
