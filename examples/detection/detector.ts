// A one-stage detector: each cell of a grid says whether an object has its center there, and describes it.
import { arange, cat, nn, stack, type Tensor, where } from 'wick-ml'
import { cells, stride } from './scenes.ts'

const block = (from: number, to: number, stride: number) => [
  new nn.Conv2d(from, to, { kernelSize: 3, stride, padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.SiLU(),
]

/** A convolutional network whose last channels describe the cells of a grid. */
export class Detector extends nn.Module<[Tensor], Tensor> {
  features = new nn.Sequential(
    ...[...block(1, 16, 2), ...block(16, 32, 2), ...block(32, 64, 2)],
    ...[...block(64, 64, 1), ...block(64, 64, 1)],
  )
  /** Of each cell: whether a digit has its center there, where in the cell, logarithm of width and height, class. */
  head = new nn.Conv2d(64, 15, { kernelSize: 1 })

  forward(scenes: Tensor) {
    return this.head.forward(this.features.forward(scenes))
  }
}

/** The cells surer than their neighbours as rows `[scene, x1, y1, x2, y2, digit, score]`; -1 for the others. */
export function detect(output: Tensor, scene: Tensor): Tensor {
  const presence = output.narrow(1, 0, 1).sigmoid()
  const isPeak = presence.eq(nn.F.maxPool2d(presence, 3, { stride: 1, padding: 1 })).logicalAnd(presence.gt(0.05))
  const columns = arange(cells).expand([cells, cells])
  const center = output
    .narrow(1, 1, 2)
    .sigmoid()
    .add(stack([columns, columns.t()], 0))
    .mul(stride)
  const half = output.narrow(1, 3, 2).exp().div(2)
  const [share, digit] = output.narrow(1, 5, 10).softmax(1).max({ dim: 1, keepdim: true })
  const scenes = scene.reshape([-1, 1, 1, 1]).expandAs(presence)
  const rows = cat([scenes, center.sub(half), center.add(half), digit.float(), presence.mul(share)], 1)
  return where(isPeak, rows, -1).movedim(1, -1).reshape([-1, 7])
}
