/** Bytes brought to 0..1, and channels to mean 0 and deviation 1. */
import { badOption, WickError } from '../../errors.ts'
import { type Tensor, tensor } from '../../tensor/index.ts'
import { checkFloat, imageSizes } from './image.ts'
import { imageStep, type TwoUses, twoUses } from './step.ts'

/** Images of bytes as float32 in 0..1; floats stay as they are. */
export const toTensor: TwoUses<[]> = twoUses('toTensor', () =>
  imageStep([{ name: 'toTensor', numbers: [] }], x => {
    imageSizes('toTensor', x)
    if (x.dtype === 'uint8') return x.float().div(255)
    checkFloat('toTensor', x)
    return x
  }),
)

/** `(x - mean) / std` by channel; one number stands for all channels. */
export const normalize: TwoUses<[mean: readonly number[], std: readonly number[]]> = twoUses(
  'normalize',
  (mean: readonly number[], std: readonly number[]) => {
    const odd = std.find(s => !(s > 0 && Number.isFinite(s)))
    if (odd !== undefined) throw badOption('normalize', `std must be above 0, not ${odd}`)
    const [means, deviations] = [rgb(mean), rgb(std)]
    const steps = means && deviations && [{ name: 'normalize', numbers: [...means, ...deviations] }]
    return imageStep(steps, x => {
      checkFloat('normalize', x)
      const { channels } = imageSizes('normalize', x)
      return x.sub(byChannel('normalize', x, mean, channels)).div(byChannel('normalize', x, std, channels))
    })
  },
)

/** Numbers for red, green and blue, or null if they are for other channels. */
export function rgb(values: readonly number[]): readonly [number, number, number] | null {
  const [r, g = r, b = g] = values
  return r !== undefined && g !== undefined && b !== undefined && values.length % 2 === 1 && values.length < 4
    ? [r, g, b]
    : null
}

/** Numbers for each channel (or one for all) as a tensor that goes over images like `x`. */
export function byChannel(op: string, x: Tensor, values: readonly number[], channels: number): Tensor {
  if (values.length !== channels && values.length !== 1) {
    throw new WickError('SHAPE_MISMATCH', `${values.length} numbers for ${channels} channels`, { op })
  }
  return tensor(Float64Array.from(values), { dtype: x.dtype, device: x.device }).reshape([values.length, 1, 1])
}
