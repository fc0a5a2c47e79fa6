/** `removePadding`: what is left of rows that were padded to a common number. */
import type { Tensor } from '../tensor/index.ts'

/** The rows (along the first dimension) with any element other than `padding`. Waits for the device, since their number is new. */
export function removePadding(tensor: Tensor, padding: number): Tensor {
  const rows = tensor.shape[0] ?? 1
  const isRow = tensor.ne(padding).reshape([rows, -1]).any(1)
  return tensor.indexSelect(0, isRow.nonzero().flatten())
}
