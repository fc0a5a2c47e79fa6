/** Channels brought to mean 0 and deviation 1. */
import { badOption, WickError } from '../../errors.ts'
import { type Tensor, tensor } from '../../tensor/index.ts'
import { checkFloat, imageSizes } from './image.ts'

/** `(x - mean) / std` by channel; one number stands for all channels. */
export function normalize(x: Tensor, mean: readonly number[], std: readonly number[]): Tensor {
  checkFloat('normalize', x)
  const { channels } = imageSizes('normalize', x)
  const odd = std.find(s => !(s > 0 && Number.isFinite(s)))
  if (odd !== undefined) throw badOption('normalize', `std must be above 0, not ${odd}`)
  return x.sub(byChannel('normalize', x, mean, channels)).div(byChannel('normalize', x, std, channels))
}

/** Numbers for each channel (or one for all) as a tensor that goes over images like `x`. */
export function byChannel(op: string, x: Tensor, values: readonly number[], channels: number): Tensor {
  if (values.length !== channels && values.length !== 1) {
    throw new WickError('SHAPE_MISMATCH', `${values.length} numbers for ${channels} channels`, { op })
  }
  return tensor(Float64Array.from(values), { dtype: x.dtype, device: x.device }).reshape([values.length, 1, 1])
}
