/**
 * ResNet and its relatives, in the structure of torchvision and under its names, so that its state dicts fit.
 *
 * ```ts
 * const model = new models.ResNet(models.BasicBlock, [2, 2, 2, 2], { numClasses: 10, stem: 'cifar' })
 * model.forward(images) // [n, 3, 32, 32] to [n, 10]
 * ```
 */
import { badOption, checkOptions } from '../errors.ts'
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv2d,
  Identity,
  init,
  type Layer,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../nn/index.ts'
import type { Tensor } from '../tensor/index.ts'

/** Options of a residual block. */
export interface BlockOptions {
  /** Step of the block's first 3x3 convolution, which makes images smaller; 1. */
  stride?: number
  /** Brings the input to the shape of the block's output, if the two differ; null. */
  downsample?: Layer | null
  /** Groups of the 3x3 convolution, as in ResNeXt; 1. */
  groups?: number
  /** Channels of a group for every 64 `planes`, as in ResNeXt and wide ResNets; 64. */
  widthPerGroup?: number
}

/** A residual block: images in, images out. */
export interface Block extends Layer {
  /** The norm before the block's input is added; `zeroInitResidual` starts it at zero. */
  readonly lastNorm: BatchNorm2d
}

/** A class of blocks that `ResNet` is made of: `BasicBlock` or `Bottleneck`. */
export interface BlockClass {
  /** Output channels of a block for each of its `planes`. */
  readonly expansion: number
  new (inPlanes: number, planes: number, options?: BlockOptions): Block
}

/** The layers before the first block: ImageNet's 7x7 convolution and pooling, or a 3x3 convolution for small images. */
export type Stem = 'imagenet' | 'cifar'

/** Options of `ResNet`. */
export interface ResNetOptions {
  /** Classes; 1000. 0 leaves out the head, and the model gives features. */
  numClasses?: number | undefined
  /** `'imagenet'`. `'cifar'` is for images of about 32x32: a 3x3 convolution of stride 1 and no pooling. */
  stem?: Stem | undefined
  /** Channels of the stem and planes of the first stage, which each of the three others doubles; 64. */
  width?: number | undefined
  /** Channels of the images; 3. */
  inChannels?: number | undefined
  /** Groups of the 3x3 convolutions; 1. Needs `Bottleneck`. */
  groups?: number | undefined
  /** Channels of a group for every 64 planes; 64. Needs `Bottleneck`. */
  widthPerGroup?: number | undefined
  /** Whether each block starts as the identity, by a last norm of zeros; false. */
  zeroInitResidual?: boolean | undefined
}

/** The names of `ResNetOptions`. */
export const resnetOptions = [
  'numClasses',
  'stem',
  'width',
  'inChannels',
  'groups',
  'widthPerGroup',
  'zeroInitResidual',
] as const

const conv1x1 = (inPlanes: number, planes: number, stride = 1) =>
  new Conv2d(inPlanes, planes, { kernelSize: 1, stride, bias: false })
const conv3x3 = (inPlanes: number, planes: number, stride = 1, groups = 1) =>
  new Conv2d(inPlanes, planes, { kernelSize: 3, stride, padding: 1, groups, bias: false })

/**
 * The block of ResNet-18 and 34: two 3x3 convolutions. `[n, inPlanes, h, w]` to `[n, planes, h / stride, w / stride]`, rounded up.
 * Throws `BAD_OPTION` for `groups` and `widthPerGroup`, which only `Bottleneck` has.
 */
export class BasicBlock extends Module<[Tensor], Tensor> implements Block {
  static readonly expansion = 1
  readonly conv1: Conv2d
  readonly bn1: BatchNorm2d
  readonly relu: ReLU
  readonly conv2: Conv2d
  readonly bn2: BatchNorm2d
  readonly downsample: Layer | null

  constructor(inPlanes: number, planes: number, options: BlockOptions = {}) {
    super()
    checkOptions('BasicBlock', options, ['stride', 'downsample', 'groups', 'widthPerGroup'])
    const { stride = 1, downsample = null, groups = 1, widthPerGroup = 64 } = options
    if (groups !== 1 || widthPerGroup !== 64) {
      throw badOption('BasicBlock', 'has no groups and no widthPerGroup; use Bottleneck, or width for a thin network')
    }
    this.conv1 = conv3x3(inPlanes, planes, stride)
    this.bn1 = new BatchNorm2d(planes)
    this.relu = new ReLU()
    this.conv2 = conv3x3(planes, planes)
    this.bn2 = new BatchNorm2d(planes)
    this.downsample = downsample
  }

  get lastNorm(): BatchNorm2d {
    return this.bn2
  }

  forward(x: Tensor): Tensor {
    const h = this.relu.forward(this.bn1.forward(this.conv1.forward(x)))
    const residual = this.bn2.forward(this.conv2.forward(h))
    return this.relu.forward(residual.add(this.downsample === null ? x : this.downsample.forward(x)))
  }
}

/**
 * The block of ResNet-50 and deeper: a 3x3 convolution between two 1x1 ones that narrow and widen.
 * `[n, inPlanes, h, w]` to `[n, 4 * planes, h / stride, w / stride]`, rounded up. The 3x3 convolution has the stride (ResNet v1.5).
 */
export class Bottleneck extends Module<[Tensor], Tensor> implements Block {
  static readonly expansion = 4
  readonly conv1: Conv2d
  readonly bn1: BatchNorm2d
  readonly conv2: Conv2d
  readonly bn2: BatchNorm2d
  readonly conv3: Conv2d
  readonly bn3: BatchNorm2d
  readonly relu: ReLU
  readonly downsample: Layer | null

  constructor(inPlanes: number, planes: number, options: BlockOptions = {}) {
    super()
    checkOptions('Bottleneck', options, ['stride', 'downsample', 'groups', 'widthPerGroup'])
    const { stride = 1, downsample = null, groups = 1, widthPerGroup = 64 } = options
    const inner = Math.floor((planes * widthPerGroup) / 64) * groups
    if (inner < 1) {
      throw badOption('Bottleneck', `widthPerGroup = ${widthPerGroup} leaves no channel of ${planes} planes`)
    }
    const out = planes * Bottleneck.expansion
    this.conv1 = conv1x1(inPlanes, inner)
    this.bn1 = new BatchNorm2d(inner)
    this.conv2 = conv3x3(inner, inner, stride, groups)
    this.bn2 = new BatchNorm2d(inner)
    this.conv3 = conv1x1(inner, out)
    this.bn3 = new BatchNorm2d(out)
    this.relu = new ReLU()
    this.downsample = downsample
  }

  get lastNorm(): BatchNorm2d {
    return this.bn3
  }

  forward(x: Tensor): Tensor {
    let h = this.relu.forward(this.bn1.forward(this.conv1.forward(x)))
    h = this.relu.forward(this.bn2.forward(this.conv2.forward(h)))
    const residual = this.bn3.forward(this.conv3.forward(h))
    return this.relu.forward(residual.add(this.downsample === null ? x : this.downsample.forward(x)))
  }
}

/**
 * A residual network: a stem, four stages of blocks, the mean over the image and a linear head. Images
 * `[n, inChannels, h, w]` to logits `[n, numClasses]`, or to features `[n, 8 * width * block.expansion]` if `numClasses` is 0.
 *
 * `layers` are the numbers of blocks in the stages. Convolutions start with Kaiming's normal initialisation by fan out, norms
 * with ones and zeros, as in torchvision. Throws `BAD_OPTION` for options out of range.
 */
export class ResNet extends Module<[Tensor], Tensor> {
  readonly conv1: Conv2d
  readonly bn1: BatchNorm2d
  readonly relu: ReLU
  readonly maxpool: Layer
  readonly layer1: Sequential
  readonly layer2: Sequential
  readonly layer3: Sequential
  readonly layer4: Sequential
  readonly avgpool: AdaptiveAvgPool2d
  /** The head. Replace it to train on other classes. */
  fc: Layer

  constructor(block: BlockClass, layers: readonly [number, number, number, number], options: ResNetOptions = {}) {
    super()
    const op = 'ResNet'
    checkOptions(op, options, resnetOptions)
    const { stem = 'imagenet', zeroInitResidual = false } = options
    const numClasses = whole('numClasses', options.numClasses ?? 1000, 0)
    const width = whole('width', options.width ?? 64, 1)
    const inChannels = whole('inChannels', options.inChannels ?? 3, 1)
    const groups = whole('groups', options.groups ?? 1, 1)
    const widthPerGroup = whole('widthPerGroup', options.widthPerGroup ?? 64, 1)
    if (layers.length !== 4) throw badOption(op, `layers must be four numbers of blocks, not ${layers.length}`)
    for (const count of layers) whole('layers', count, 1)
    if (stem !== 'imagenet' && stem !== 'cifar') {
      throw badOption(op, `stem must be 'imagenet' or 'cifar', not '${String(stem)}'`)
    }

    const small = stem === 'cifar'
    this.conv1 = small
      ? conv3x3(inChannels, width)
      : new Conv2d(inChannels, width, { kernelSize: 7, stride: 2, padding: 3, bias: false })
    this.bn1 = new BatchNorm2d(width)
    this.relu = new ReLU()
    this.maxpool = small ? new Identity() : new MaxPool2d(3, { stride: 2, padding: 1 })

    let inPlanes = width
    const stage = (index: 0 | 1 | 2 | 3): Sequential => {
      const planes = width * 2 ** index
      const out = planes * block.expansion
      const stride = index === 0 ? 1 : 2
      const reshapes = stride !== 1 || inPlanes !== out
      const downsample = reshapes ? new Sequential(conv1x1(inPlanes, out, stride), new BatchNorm2d(out)) : null
      const first = new block(inPlanes, planes, { stride, downsample, groups, widthPerGroup })
      const rest = Array.from({ length: layers[index] - 1 }, () => new block(out, planes, { groups, widthPerGroup }))
      inPlanes = out
      return new Sequential(first, ...rest)
    }
    this.layer1 = stage(0)
    this.layer2 = stage(1)
    this.layer3 = stage(2)
    this.layer4 = stage(3)
    this.avgpool = new AdaptiveAvgPool2d([1, 1])
    this.fc = numClasses === 0 ? new Identity() : new Linear(inPlanes, numClasses)

    for (const module of this.modules()) {
      if (module instanceof Conv2d) init.kaimingNormal_(module.weight, { mode: 'fan_out', nonlinearity: 'relu' })
      else if (zeroInitResidual && isBlock(module) && module.lastNorm.weight !== null) {
        init.zeros_(module.lastNorm.weight)
      }
    }
  }

  forward(x: Tensor): Tensor {
    let h = this.maxpool.forward(this.relu.forward(this.bn1.forward(this.conv1.forward(x))))
    for (const stage of [this.layer1, this.layer2, this.layer3, this.layer4]) h = stage.forward(h)
    return this.fc.forward(this.avgpool.forward(h).flatten(1))
  }
}

function isBlock(module: Module): module is Module & Block {
  return 'lastNorm' in module && module.lastNorm instanceof BatchNorm2d
}

function whole(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least) return value
  throw badOption('ResNet', `${name} must be a whole number of at least ${least}, not ${value}`)
}
