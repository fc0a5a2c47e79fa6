import assert from 'node:assert/strict'
import { test } from 'node:test'
import { capture } from '../ts/capture.ts'
import { type ErrorCode, WickError } from '../ts/errors.ts'
import type { Tensor } from '../ts/tensor/index.ts'
import * as wick from '../ts/tensor/index.ts'

const { cat, ones, tensor, zeros } = wick

/** What `f` throws, which must be a WickError with this code. */
function refused(code: ErrorCode, f: () => unknown): WickError {
  try {
    f()
  } catch (error) {
    assert.ok(error instanceof WickError, `a ${String(error)} instead of a WickError`)
    assert.equal(error.code, code, error.message)
    return error
  }
  throw new assert.AssertionError({ message: `nothing was thrown instead of ${code}` })
}
/** A value that the types forbid. */
function untyped<T>(value: unknown): T {
  return value as T
}

test('shapes that do not fit', () => {
  const error = refused('SHAPE_MISMATCH', () => ones([2, 3]).matmul(ones([2, 3])))
  assert.equal(error.op, 'matmul')
  assert.deepEqual(error.details.operands, ['float32[2, 3]', 'float32[2, 3]'])
  assert.match(error.message, /\[2, 3\]/)
  refused('SHAPE_MISMATCH', () => ones([2, 3]).add(ones([2])))
  refused('SHAPE_MISMATCH', () => ones([2, 3]).reshape(4))
  refused('SHAPE_MISMATCH', () => ones([2, 3]).reshape(-1, 4))
  refused('SHAPE_MISMATCH', () => ones([2, 3]).expand(3, 3))
  refused('SHAPE_MISMATCH', () => cat([ones([2, 3]), ones([2, 4])]))
  refused('SHAPE_MISMATCH', () => ones([2, 3]).bmm(ones([3, 2])))
  refused('SHAPE_MISMATCH', () => ones([2]).dot(ones([3])))
  refused('SHAPE_MISMATCH', () => ones([2]).itemSync())
  refused('SHAPE_MISMATCH', () => tensor([[1, 2], [3]]))
  refused('SHAPE_MISMATCH', () => tensor(untyped([1, [2]])))
  refused('SHAPE_MISMATCH', () => wick.fromTypedArray(new Float32Array(3), [2, 2]))
  refused('SHAPE_MISMATCH', () => zeros([-1]))
  refused('SHAPE_MISMATCH', () => ones([2, 3]).split([1, 2]))
  refused('SHAPE_MISMATCH', () => ones([3]).copy_(ones([2])))
})

test('dimensions and indices out of range', () => {
  const x = ones([2, 3])
  refused('INDEX_OUT_OF_RANGE', () => x.sum(2))
  refused('INDEX_OUT_OF_RANGE', () => x.sum({ dim: [-3] }))
  refused('INDEX_OUT_OF_RANGE', () => x.softmax(2))
  refused('INDEX_OUT_OF_RANGE', () => x.transpose(0, 2))
  refused('INDEX_OUT_OF_RANGE', () => x.permute(0, 5))
  refused('INDEX_OUT_OF_RANGE', () => x.select(0, 2))
  refused('INDEX_OUT_OF_RANGE', () => x.narrow(1, 2, 2))
  refused('INDEX_OUT_OF_RANGE', () => x.topk(4))
  refused('INDEX_OUT_OF_RANGE', () => x.index(0, 0, 0))
  refused('INDEX_OUT_OF_RANGE', () => x.indexSelect(0, tensor([2])).dataSync())
  refused('INDEX_OUT_OF_RANGE', () => x.gather(1, tensor([[-1]])).dataSync())
  refused('INDEX_OUT_OF_RANGE', () => x.size(2))
})

test('dtypes that do not fit', () => {
  refused('DTYPE_MISMATCH', () => tensor([1, 2]).mean())
  refused('DTYPE_MISMATCH', () => tensor([1, 2]).softmax(0))
  refused('DTYPE_MISMATCH', () => tensor([1, 2], { requiresGrad: true }))
  refused('DTYPE_MISMATCH', () => ones([2]).indexSelect(0, tensor([0.5])))
  refused('DTYPE_MISMATCH', () => tensor([1, 2]).add_(tensor([0.5, 1])))
})

test('unknown options and bad values', () => {
  const x = ones([2, 3])
  const error = refused('BAD_OPTION', () => x.sum(untyped({ keepDim: true })))
  assert.match(error.message, /'keepDim'.*'keepdim'/)
  assert.equal(error.op, 'sum')
  refused('BAD_OPTION', () => zeros([2], untyped({ dtpye: 'int64' })))
  refused('BAD_OPTION', () => zeros([2], { dtype: untyped('int46') }))
  refused('BAD_OPTION', () => zeros([1.5]))
  refused('BAD_OPTION', () => zeros(untyped('2')))
  refused('BAD_OPTION', () => x.reshape(untyped<number>('6')))
  refused('BAD_OPTION', () => x.add(untyped(undefined)))
  refused('BAD_OPTION', () => x.matmul(untyped(null)))
  refused('BAD_OPTION', () => x.add(untyped({ handle: 1 })))
  refused('BAD_OPTION', () => x.select(0, untyped('1')))
  refused('BAD_OPTION', () => x.index(untyped(undefined)))
  refused('BAD_OPTION', () => x.movedim(untyped(x), 0))
  refused('BAD_OPTION', () => x.reshape(untyped<number>(x)))
  refused('BAD_OPTION', () => tensor(untyped('abc')))
  refused('BAD_OPTION', () => x.clamp())
  refused('BAD_OPTION', () => x.gelu({ approximate: untyped('fast') }))
  refused('BAD_OPTION', () => x.backward(untyped({ retain: true })))
  refused('BAD_OPTION', () => wick.randint(3, 3, [2]))
  refused('BAD_OPTION', () => wick.manualSeed(0.5))
  refused('BAD_OPTION', () => wick.setNumThreads(0))
  refused('BAD_OPTION', () => wick.einsum('ij->ik', x))
  refused('BAD_OPTION', () => capture(() => x, { mode: untyped('fast') }))
  refused('BAD_OPTION', () => cat([]))
})

test('devices that are not there', () => {
  refused('NOT_SUPPORTED', () => ones([2]).to('cuda:99'))
  refused('NOT_SUPPORTED', () => zeros([2], { device: 'cuda:99' }))
  refused('BAD_OPTION', () => ones([2]).to('gpu'))
})

test('a disposed tensor', () => {
  const x = ones([2])
  x.dispose()
  x[Symbol.dispose]()
  refused('DISPOSED', () => x.add(1))
  refused('DISPOSED', () => x.dataSync())
  refused('DISPOSED', () => ones([2]).add(x))
  let leaked: Tensor | undefined
  wick.scope(() => {
    leaked = ones([2])
  })
  const error = refused('DISPOSED', () => leaked!.mul(2))
  assert.match(error.message, /scope/)
})

test('gradients that can not be computed', () => {
  const x = ones([2], { requiresGrad: true })
  refused('NO_GRAD', () => ones([1]).sum().backward())
  refused('SHAPE_MISMATCH', () => x.mul(2).backward())
  refused('SHAPE_MISMATCH', () => x.mul(2).backward({ gradient: ones([3]) }))
  const y = x.mul(x).sum()
  y.backward()
  refused('NO_GRAD', () => y.backward())
  const z = x.mul(x).sum()
  z.backward({ retainGraph: true })
  z.backward()
  refused('NO_GRAD', () => wick.grad(x.sum(), ones([2], { requiresGrad: true })))
  refused('NO_GRAD', () => x.mul(2).requiresGrad_())
})

test('in-place writes that autograd must refuse', () => {
  const x = ones([2], { requiresGrad: true })
  refused('INPLACE_MODIFIED', () => x.add_(1))
  refused('INPLACE_MODIFIED', () => x.zero_())
  wick.noGrad(() => x.add_(1))
  assert.deepEqual(x.toArraySync(), [2, 2])
  const y = x.exp()
  const loss = y.sum()
  y.mul_(2)
  refused('INPLACE_MODIFIED', () => loss.backward() ?? y.sum().backward())
})

test('asynchronous functions where a synchronous one is needed', async () => {
  const fail = async () => ones([1])
  refused('NOT_SUPPORTED', () => wick.noGrad(fail))
  refused('NOT_SUPPORTED', () => wick.scope(fail))
  refused('NOT_SUPPORTED', () => capture(fail)())
  assert.ok(wick.isGradEnabled())
  await new Promise(resolve => setImmediate(resolve))
})

test('a file that is no safetensors file', () => {
  refused('BAD_FILE', () => wick.loadSafetensors('no/such/file.safetensors'))
})
