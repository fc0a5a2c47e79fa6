/** Autocast: products run in a low precision, sums and losses in float32, as PyTorch chooses by op. */
import { checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import { region } from '../tensor/context.ts'
import { deviceCode, dtypeCode, dtypeName } from '../tensor/dtype.ts'
import type { DType } from '../tensor/index.ts'

/** Options of `autocast`. */
export interface AutocastOptions {
  /** `'bfloat16'` (default) or `'float16'`. */
  dtype?: DType
  /** Checked only; autocast holds for every device. */
  device?: string
  /** Default true; false turns it off inside. */
  enabled?: boolean
}

/**
 * Runs `fn` so that `matmul`, `linear` and `conv2d` cast their operands to `dtype`, and softmax, losses, sums, powers and
 * exponentials to float32. Parameters stay float32, and so do their gradients; a parameter is cast once in a region. Backward
 * needs no autocast. Throws `DTYPE_MISMATCH` for other dtypes.
 *
 * ```ts
 * const loss = autocast({ dtype: 'bfloat16' }, () => criterion.forward(model.forward(x), y))
 * loss.backward()
 * ```
 */
export function autocast<T>(options: AutocastOptions, fn: () => T): T {
  checkOptions('autocast', options, ['dtype', 'device', 'enabled'])
  const { dtype = 'bfloat16', enabled = true } = options
  deviceCode('autocast', options.device)
  return region({ autocast: enabled ? dtypeCode(dtype) : -1 }, fn) as T
}

/** The low dtype of the autocast region around, or `null`. */
export function autocastDtype(): DType | null {
  const code = native.autocastDtype()
  return code < 0 ? null : dtypeName(code)
}
