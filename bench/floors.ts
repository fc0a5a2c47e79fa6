/**
 * What a step can't do without, counted from the model.
 *
 * FLOPs are those of linear layers and convolutions: a product forward, one for the gradient of the weight and one for that of the
 * input, which the first layer doesn't need; a multiplication and an addition count as two.
 *
 * Bytes are those of tensors that can't stay on the chip from one use to the next, each moved once for each of them: the batch is read;
 * the output of a linear layer or convolution is written in the forward pass and read in the backward pass, in the job's low precision;
 * a parameter and the optimizer's moments are read and written as float32. Normalisation, activations and gradients are free, since
 * in principle they can be computed where these tensors pass by.
 */
import { nn, noGrad, scope, type Tensor, zeros } from '../ts/index.ts'
import type { StepSettings } from './settings.ts'

export interface Floors {
  flops: number
  bytes: number
}

/** The floors of a step. It runs the network on one sample of zeros, on the default device. */
export function floorsOf({ network, shape, moments, precision }: StepSettings): Floors {
  return scope(() => {
    const model = network().eval()
    const parameters = model.parameters().reduce((sum, p) => sum + p.numel, 0)
    const products: number[] = []
    let outputs = 0
    for (const layer of model.modules()) {
      if (!(layer instanceof nn.Linear || layer instanceof nn.Conv2d)) continue
      layer.registerForwardHook((_, __, output: Tensor) => {
        outputs += output.numel
        products.push(2 * output.numel * (layer.weight.numel / layer.weight.size(0)))
        return undefined
      })
    }
    const [batch, ...sample] = shape
    noGrad(() => model.forward(zeros([1, ...sample])))
    const low = precision === 'bfloat16' ? 2 : 4
    const inputs = sample.reduce((product, size) => product * size, 1)
    const forward = products.reduce((sum, flops) => sum + flops, 0)
    return {
      flops: batch * (3 * forward - (products[0] ?? 0)),
      bytes: batch * (4 * inputs + 2 * low * outputs) + 2 * 4 * (1 + moments) * parameters,
    }
  })
}
