/** The published ResNets by name. */
import { checkOptions } from '../errors.ts'
import { loadPretrained, type PretrainedOptions } from './pretrained.ts'
import { BasicBlock, type BlockClass, Bottleneck, ResNet, type ResNetOptions, resnetOptions } from './resnet.ts'

/** Options of the functions that make models, and of `createModel`. */
export interface ModelOptions extends ResNetOptions, PretrainedOptions {}

/** Makes the network that `block`, `layers` and `own` describe, as far as `options` don't say otherwise. */
function build(
  name: string,
  block: BlockClass,
  layers: readonly [number, number, number, number],
  options: ModelOptions,
  own: ResNetOptions = {},
): ResNet {
  checkOptions(name, options, [...resnetOptions, 'pretrained'])
  const { pretrained, ...rest } = options
  const groups = rest.groups ?? own.groups
  const widthPerGroup = rest.widthPerGroup ?? own.widthPerGroup
  const make = (numClasses: number | undefined) =>
    new ResNet(block, layers, { ...rest, groups, widthPerGroup, numClasses })
  return pretrained === undefined ? make(rest.numClasses) : loadPretrained(pretrained, rest.numClasses, make)
}

/**
 * ResNet-18, 11.7 million parameters.
 *
 * ```ts
 * models.resnet18({ numClasses: 10, stem: 'cifar' })
 * models.resnet18({ pretrained: 'resnet18.safetensors', numClasses: 37 }) // all but the head from the file
 * ```
 */
export function resnet18(options: ModelOptions = {}): ResNet {
  return build('resnet18', BasicBlock, [2, 2, 2, 2], options)
}

/** ResNet-34, 21.8 million parameters. */
export function resnet34(options: ModelOptions = {}): ResNet {
  return build('resnet34', BasicBlock, [3, 4, 6, 3], options)
}

/** ResNet-50 (v1.5), 25.6 million parameters. */
export function resnet50(options: ModelOptions = {}): ResNet {
  return build('resnet50', Bottleneck, [3, 4, 6, 3], options)
}

/** ResNet-101 (v1.5), 44.5 million parameters. */
export function resnet101(options: ModelOptions = {}): ResNet {
  return build('resnet101', Bottleneck, [3, 4, 23, 3], options)
}

/** ResNet-152 (v1.5), 60.2 million parameters. */
export function resnet152(options: ModelOptions = {}): ResNet {
  return build('resnet152', Bottleneck, [3, 8, 36, 3], options)
}

/** ResNeXt-50 with 32 groups of 4 channels, 25.0 million parameters. */
export function resnext50_32x4d(options: ModelOptions = {}): ResNet {
  return build('resnext50_32x4d', Bottleneck, [3, 4, 6, 3], options, { groups: 32, widthPerGroup: 4 })
}

/** Wide ResNet-50, whose 3x3 convolutions have twice the channels, 68.9 million parameters. */
export function wideResnet50_2(options: ModelOptions = {}): ResNet {
  return build('wideResnet50_2', Bottleneck, [3, 4, 6, 3], options, { widthPerGroup: 128 })
}
