/** `nn.utils`: clipping gradients, and parameters as one vector. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { cat, noGrad, stack, Tensor, zeros } from '../tensor/index.ts'
import { wholeGroups } from './groups.ts'

/** One tensor or several, such as `model.parameters()`. */
export type Tensors = Tensor | Iterable<Tensor>

function listed(tensors: Tensors): Tensor[] {
  return tensors instanceof Tensor ? [tensors] : [...tensors]
}

/**
 * Scales the gradients of `params` in place so that their norm, taken over all of them together, is at most `maxNorm`. Returns
 * the norm before clipping, a scalar on the device. Throws `BAD_OPTION` for a norm that isn't finite if `errorIfNonfinite`.
 *
 * ```ts
 * loss.backward()
 * nn.utils.clipGradNorm_(model.parameters(), 1)
 * optimizer.step()
 * ```
 */
export function clipGradNorm_(
  params: Tensors,
  maxNorm: number,
  options: { normType?: number; errorIfNonfinite?: boolean } = {},
): Tensor {
  checkOptions('clipGradNorm_', options, ['normType', 'errorIfNonfinite'])
  const { normType = 2, errorIfNonfinite = false } = options
  if (!(maxNorm >= 0)) throw badOption('clipGradNorm_', `maxNorm must not be negative, got ${maxNorm}`)
  const all = listed(params)
  const { groups, rest } = wholeGroups(all)
  const flat = normType === 2 && groups.length > 0 && rest.length === 0 && !errorIfNonfinite
  if (flat) return new Tensor(native.clipGradNorm(groups, maxNorm))
  return noGrad(() => clipEach(all, maxNorm, normType, errorIfNonfinite))
}

/** The same, one gradient at a time. */
function clipEach(params: readonly Tensor[], maxNorm: number, normType: number, errorIfNonfinite: boolean): Tensor {
  const grads = gradientsOf(params)
  if (grads.length === 0) return zeros([])
  const norm = stack(grads.map(g => g.norm({ p: normType }))).norm({ p: normType })
  if (errorIfNonfinite && !Number.isFinite(norm.itemSync())) {
    throw new WickError('BAD_OPTION', 'the norm of the gradients is not finite', { op: 'clipGradNorm_' })
  }
  // As PyTorch: gradients below the limit are multiplied by 1, so that no one has to look at the norm.
  const factor = norm.add(1e-6).reciprocal().mul(maxNorm).clamp({ max: 1 })
  for (const g of grads) g.mul_(factor)
  return norm
}

/** Cuts the gradients of `params` to `[-clipValue, clipValue]`, in place. */
export function clipGradValue_(params: Tensors, clipValue: number): void {
  if (!(clipValue >= 0)) throw badOption('clipGradValue_', `clipValue must not be negative, got ${clipValue}`)
  const { groups, rest } = wholeGroups(listed(params))
  if (groups.length > 0) native.clipGradValue(groups, clipValue)
  noGrad(() => {
    for (const g of gradientsOf(rest)) g.copy_(g.clamp(-clipValue, clipValue))
  })
}

function gradientsOf(params: readonly Tensor[]): Tensor[] {
  return params.map(p => p.grad).filter(g => g !== null)
}

/** All elements of `params`, in order, as one vector. */
export function parametersToVector(params: Iterable<Tensor>): Tensor {
  return cat(
    [...params].map(p => p.reshape([-1])),
    0,
  )
}

/** Copies a vector's elements, in order, into `params`. Throws `SHAPE_MISMATCH` if their number differs. */
export function vectorToParameters(vector: Tensor, params: Iterable<Tensor>): void {
  const all = [...params]
  const total = all.reduce((n, p) => n + p.numel, 0)
  if (vector.ndim !== 1 || vector.numel !== total) {
    const shape = `[${vector.shape.join(', ')}]`
    throw new WickError('SHAPE_MISMATCH', `the parameters have ${total} elements, the vector has shape ${shape}`, {
      op: 'vectorToParameters',
    })
  }
  noGrad(() => {
    let start = 0
    for (const p of all) {
      p.copy_(vector.narrow(0, start, p.numel).reshape(p.shape))
      start += p.numel
    }
  })
}
