/** Products of matrices and vectors. */
import { badOption, checkOptions, WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { handle } from './operand.ts'
import { numelOf } from './sizes.ts'
import { Tensor } from './tensor.ts'

/** Matrix product: vectors, matrices and batches of matrices, broadcast over the leading dimensions as in PyTorch. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const x = handle('matmul', a)
  const y = handle('matmul', b)
  const ranks = a.ndim * 16 + b.ndim
  if (ranks === 0x22 || ranks === 0x33 || ranks === 0x44) return new Tensor(native.matmul(x, y))
  return matmulRanks(a, b)
}

/** The cases of unequal rank, and vectors. */
function matmulRanks(a: Tensor, b: Tensor): Tensor {
  if (a.ndim === 0 || b.ndim === 0) {
    const operands = [`${a.dtype}[${a.shape}]`, `${b.dtype}[${b.shape}]`]
    throw new WickError('SHAPE_MISMATCH', 'needs at least one dimension', { op: 'matmul', details: { operands } })
  }
  if (a.ndim === 1) return matmul(a.unsqueeze(0), b.ndim === 1 ? b.unsqueeze(1) : b).squeeze(b.ndim === 1 ? [0, 1] : -2)
  if (b.ndim === 1) return matmul(a, b.unsqueeze(1)).squeeze(-1)
  if (b.ndim === 2) {
    // One large product instead of a batch of small ones.
    const lead = a.shape.slice(0, -1)
    const rows = a.reshape(numelOf(lead), a.shape[a.ndim - 1]!)
    return new Tensor(native.matmul(rows.handle, b.handle)).reshape([...lead, b.shape[1]!])
  }
  const rank = Math.max(a.ndim, b.ndim)
  return new Tensor(native.matmul(lifted(a, rank).handle, lifted(b, rank).handle))
}
function lifted(x: Tensor, rank: number): Tensor {
  return x.ndim === rank ? x : x.reshape([...Array.from({ length: rank - x.ndim }, () => 1), ...x.shape])
}

function ranked(op: string, rank: number, ...tensors: readonly Tensor[]): void {
  for (const x of tensors) {
    handle(op, x)
    if (x.ndim === rank) continue
    throw new WickError('SHAPE_MISMATCH', `needs tensors of rank ${rank}, not [${x.shape}]`, { op })
  }
}

/** Product of two matrices. */
export function mm(a: Tensor, b: Tensor): Tensor {
  ranked('mm', 2, a, b)
  return new Tensor(native.matmul(a.handle, b.handle))
}
/** Products of two batches of matrices `[b, n, m]` and `[b, m, p]`. */
export function bmm(a: Tensor, b: Tensor): Tensor {
  ranked('bmm', 3, a, b)
  if (a.shape[0] !== b.shape[0]) {
    throw new WickError('SHAPE_MISMATCH', `batches differ: [${a.shape}] and [${b.shape}]`, { op: 'bmm' })
  }
  return new Tensor(native.matmul(a.handle, b.handle))
}
/** Product of a matrix and a vector. */
export function mv(a: Tensor, b: Tensor): Tensor {
  ranked('mv', 2, a)
  ranked('mv', 1, b)
  return matmul(a, b)
}
/** Sum of the products of two vectors' elements. */
export function dot(a: Tensor, b: Tensor): Tensor {
  ranked('dot', 1, a, b)
  if (a.shape[0] !== b.shape[0]) {
    throw new WickError('SHAPE_MISMATCH', `lengths differ: ${a.shape[0]} and ${b.shape[0]}`, { op: 'dot' })
  }
  return a.mul(b).sum()
}
/** The matrix of all products of two vectors' elements. */
export function outer(a: Tensor, b: Tensor): Tensor {
  ranked('outer', 1, a, b)
  return a.unsqueeze(1).mul(b)
}

/** Options of `addmm`: `beta * x + alpha * (a @ b)`. */
export interface AddmmOptions {
  beta?: number
  alpha?: number
}

/** `beta * x + alpha * (a @ b)` for matrices; `x` is broadcast. */
export function addmm(x: Tensor, a: Tensor, b: Tensor, o: AddmmOptions = {}): Tensor {
  checkOptions('addmm', o, ['beta', 'alpha'])
  const { beta = 1, alpha = 1 } = o
  const product = mm(a, b)
  const scaled = alpha === 1 ? product : product.mul(alpha)
  if (beta === 0) return scaled
  return (beta === 1 ? x : x.mul(beta)).add(scaled)
}

/** A tensor whose dimensions have names, one letter each. */
interface Named {
  x: Tensor
  names: string
}

/**
 * Einstein summation: `einsum('bij,bjk->bik', a, b)`. Letters name dimensions; without `->` the result has those that occur
 * once, in alphabetical order. No ellipsis.
 */
export function einsum(equation: string, ...tensors: readonly Tensor[]): Tensor {
  const [left, right] = equation.replaceAll(' ', '').split('->')
  const inputs = left!.split(',')
  if (!/^[A-Za-z,]*$/.test(left!) || inputs.length !== tensors.length || tensors.length === 0) {
    throw badOption('einsum', `'${equation}' doesn't describe ${tensors.length} tensors`)
  }
  const letters = left!.replaceAll(',', '')
  const once = [...new Set(letters)].filter(l => letters.indexOf(l) === letters.lastIndexOf(l))
  const output = right ?? once.sort().join('')
  for (const l of output) if (!letters.includes(l)) throw badOption('einsum', `'${l}' is in the result only`)
  const named = inputs.map((names, i): Named => {
    const x = tensors[i]!
    handle('einsum', x)
    if (names.length !== x.ndim) {
      throw new WickError('SHAPE_MISMATCH', `'${names}' names ${names.length} dimensions of [${x.shape}]`, {
        op: 'einsum',
      })
    }
    return diagonals({ x, names })
  })
  let acc = named[0]!
  for (let i = 1; i < named.length; i++) {
    const later = named
      .slice(i + 1)
      .map(n => n.names)
      .join('')
    acc = contract(acc, named[i]!, output + later)
  }
  return ordered(summed(acc, output), output).x
}

/** Repeated names of one operand (`ii`) become its diagonal. */
function diagonals({ x, names }: Named): Named {
  const again = [...names].findIndex((l, i) => names.indexOf(l) !== i)
  if (again < 0) return { x, names }
  const first = names.indexOf(names[again]!)
  const n = x.shape[first]!
  const moved = x.movedim([first, again], [0, 1])
  const rest = moved.shape.slice(2)
  const flat = moved.reshape([n * moved.shape[1]!, ...rest])
  const step = n + 1
  const diagonal = new Tensor(native.narrow(flat.handle, 0, 0, n, step))
  const others = [...names].filter((_, i) => i !== first && i !== again).join('')
  return diagonals({ x: diagonal, names: names[again] + others })
}

/** Sums away the names that `keep` lacks. */
function summed({ x, names }: Named, keep: string): Named {
  const gone = [...names].flatMap((l, d) => (keep.includes(l) ? [] : [d]))
  if (gone.length === 0) return { x, names }
  return { x: x.sum(gone), names: [...names].filter(l => keep.includes(l)).join('') }
}
function ordered({ x, names }: Named, order: string): Named {
  return names === order ? { x, names } : { x: x.permute([...order].map(l => names.indexOf(l))), names: order }
}

/** Two operands as one batched matrix product over the names that only they have. */
function contract(a: Named, b: Named, later: string): Named {
  const keepA = summed(a, b.names + later)
  const keepB = summed(b, a.names + later)
  const shared = [...keepA.names].filter(l => keepB.names.includes(l))
  const batch = shared.filter(l => later.includes(l)).join('')
  const inner = shared.filter(l => !later.includes(l)).join('')
  const rows = [...keepA.names].filter(l => !shared.includes(l)).join('')
  const columns = [...keepB.names].filter(l => !shared.includes(l)).join('')
  const x = ordered(keepA, batch + rows + inner).x
  const y = ordered(keepB, batch + inner + columns).x
  const [nb, nr, ni] = [batch.length, rows.length, inner.length]
  const [s, r] = [x.shape, y.shape]
  const size = [numelOf(s.slice(0, nb)), numelOf(s.slice(nb, nb + nr)), numelOf(s.slice(nb + nr))]
  const width = numelOf(r.slice(nb + ni))
  const product = bmm(x.reshape(size[0]!, size[1]!, size[2]!), y.reshape(size[0]!, size[2]!, width))
  const shape = [...s.slice(0, nb + nr), ...r.slice(nb + ni)]
  return { x: product.reshape(shape), names: batch + rows + columns }
}
