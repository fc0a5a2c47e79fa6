/** `nn.functional` against PyTorch: values, gradients, and arguments that a call changes. Fixtures: `golden/functional.py`. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { F } from '../ts/nn/index.ts'
import { arange, type DType, grad, Tensor, tensor } from '../ts/tensor/index.ts'

interface Encoded {
  shape: number[]
  data: (number | boolean | 'inf' | '-inf' | 'nan')[]
  dtype?: DType
  grad?: boolean
}
interface Case {
  name: string
  fn: string
  args: (Encoded | number | number[] | null)[]
  options: Record<string, unknown>
  out: Encoded
  grads: (Encoded | null)[]
  after: Encoded[]
}

// Compiled tests run from `dist`; fixtures stay where they are.
const cases: Case[] = JSON.parse(readFileSync(join(process.cwd(), 'test/golden/functional.json'), 'utf8'))

const isEncoded = (x: unknown): x is Encoded => typeof x === 'object' && x !== null && 'shape' in x
const special = new Map<unknown, number>([
  ['inf', Infinity],
  ['-inf', -Infinity],
  ['nan', NaN],
])
const numbers = ({ data }: Encoded) => data.map(v => special.get(v) ?? Number(v))

function decode(x: unknown, leaves: Tensor[]): unknown {
  if (!isEncoded(x)) return x
  const dtype = x.dtype ?? 'float64'
  const t = tensor(numbers(x), { dtype }).reshape(x.shape)
  if (x.grad) leaves.push(t.requiresGrad_())
  return t
}

// PyTorch rounds these functions' constants to float32.
const rounded = new Set(['hardsigmoid', 'hardswish', 'celu'])

function expectClose(actual: Tensor, expected: Encoded, what: string, tolerance: number): void {
  assert.deepEqual([...actual.shape], expected.shape, `${what}: shape`)
  const wanted = numbers(expected)
  for (const [i, v] of Array.from(actual.dataSync(), Number).entries()) {
    const w = wanted[i]!
    const close = Object.is(v, w) || Math.abs(v - w) <= tolerance * (1 + Math.abs(w))
    assert.ok(close, `${what}[${i}] is ${v}, PyTorch has ${w}`)
  }
}

for (const { name, fn, args, options, out, grads, after } of cases) {
  test(`nn.functional.${name} agrees with PyTorch`, () => {
    const tolerance = rounded.has(fn) ? 1e-7 : 1e-9
    const leaves: Tensor[] = []
    const operands = args.map(a => decode(a, leaves))
    const decoded = Object.fromEntries(Object.entries(options).map(([key, value]) => [key, decode(value, leaves)]))
    const last = Object.keys(decoded).length > 0 ? [decoded] : []
    const call: unknown = Reflect.get(F, fn)
    assert.ok(typeof call === 'function', `F.${fn}`)
    const result: unknown = Reflect.apply(call, undefined, [...operands, ...last])
    assert.ok(result instanceof Tensor)
    expectClose(result, out, 'the result', tolerance)
    const tensors = operands.filter(o => o instanceof Tensor)
    for (const [i, expected] of after.entries())
      expectClose(tensors[i + 1]!, expected, `argument ${i + 1} afterwards`, tolerance)

    const weights = arange(result.numel, { dtype: 'float64' }).cos().reshape(result.shape)
    const found = grad(result.mul(weights).sum(), leaves, { allowUnused: true })
    for (const [i, expected] of grads.entries()) {
      const g = found[i]
      if (expected === null) assert.ok(!g || Array.from(g.dataSync(), Number).every(v => v === 0))
      else expectClose(g ?? assert.fail(`no gradient ${i}`), expected, `gradient ${i}`, tolerance)
    }
  })
}
