/** The jobs that are steps: forward, backward and update over a ring of batches. */
import { autocast, capture, nn, rand, randint, type Tensor } from '../ts/index.ts'
import type { Mode } from './names.ts'
import type { StepSettings } from './settings.ts'
import { calibrate, type Prepared } from './timing.ts'

/** The capture mode of each mode. */
export const captureMode = { eager: 'off', auto: 'auto', full: 'full' } as const

/** Prepares a job on the default device and warms it up. A round reads the loss once, at its end; `few` goes once round the ring. */
export function prepareSteps(settings: StepSettings, mode: Mode): Prepared {
  const { shape, classes, ring: length, precision } = settings
  const [batchSize] = shape
  const model = settings.network()
  const optimizer = settings.optimizer(model.parameters())
  const ring = Array.from({ length }, (): [Tensor, Tensor] => [rand(shape), randint(0, classes, [batchSize])])
  const lossOf = (x: Tensor, y: Tensor) => nn.functional.crossEntropy(model.forward(x), y)
  const step = capture(
    (x: Tensor, y: Tensor) => {
      optimizer.zeroGrad()
      const loss = precision === 'bfloat16' ? autocast({ dtype: 'bfloat16' }, () => lossOf(x, y)) : lossOf(x, y)
      loss.backward()
      optimizer.step()
      return loss
    },
    { mode: captureMode[mode] },
  )
  // `full` is made for several steps a call.
  const once = mode === 'full' ? () => step.many(ring) : (i: number) => step(...(ring[i % length] as [Tensor, Tensor]))
  const perCall = mode === 'full' ? length : 1
  const run = (steps: number): number => {
    const start = performance.now()
    let loss: Tensor | undefined
    for (let i = 0; i < steps; i += perCall) {
      loss?.dispose()
      loss = once(i)
    }
    loss?.itemSync()
    const seconds = (performance.now() - start) / 1000
    loss?.dispose()
    return seconds
  }
  const steps = calibrate(run, length)
  return {
    round: () => {
      const seconds = run(steps)
      return { stepMs: (seconds / steps) * 1000, perSecond: (steps * batchSize) / seconds }
    },
    few: () => run(length),
  }
}
