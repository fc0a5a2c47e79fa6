/** A short training run whose losses are known: whether kernels, gradients and optimizer work on a device. */
import type * as Wick from '../index.ts'

/** What PyTorch computes for the same in float64. */
export const expectedLosses: readonly number[] = [
  1.5298181473470183, 1.2015255140316556, 1.129654987481381, 1.0749679255429476, 1.0171503651091898,
]

/** How far float32 may be off. */
export const tolerance = 1e-4

/** Numbers that look random and are the same everywhere. */
const waves = (count: number, scale: number, phase: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.7 + phase) * scale)

/** The losses of five AdamW steps of a 6-16-4 perceptron on eight samples. */
export function trainingLosses({ fromTypedArray, nn, optim, scope, tensor }: typeof Wick, device: string): number[] {
  return scope(() => {
    const made = (shape: number[], scale: number, phase: number) => {
      const count = shape.reduce((product, size) => product * size, 1)
      return fromTypedArray(waves(count, scale, phase), shape, { device, requiresGrad: phase > 0 })
    }
    const { crossEntropy, linear } = nn.functional
    const x = made([8, 6], 1, 0)
    const y = tensor([0, 1, 2, 3, 0, 1, 2, 3], { device })
    const [w1, b1, w2, b2] = [made([16, 6], 0.5, 1), made([16], 0.1, 2), made([4, 16], 0.5, 3), made([4], 0.1, 4)]
    const optimizer = new optim.AdamW([w1, b1, w2, b2], { lr: 0.05 })
    return expectedLosses.map(() => {
      const loss = crossEntropy(linear(linear(x, w1, b1).relu(), w2, b2), y)
      optimizer.zeroGrad()
      loss.backward()
      optimizer.step()
      return loss.itemSync()
    })
  })
}
