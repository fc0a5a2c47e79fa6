/**
 * Full-size ResNets on a GPU against PyTorch's float64, which `resnet_reference.py` wrote to a folder:
 *
 *     python test/gpu/resnet_reference.py FOLDER
 *     bun test/gpu/resnet.ts FOLDER [DEVICE]
 *
 * Compares logits in evaluation and in training, the loss, all gradients and the running statistics. Each may be as far from float64
 * as PyTorch's own float32 is on its device, times a factor that allows for another order of summation. Exits with 1 if one is further.
 *
 * Rounding switches a ReLU here and there, which no two programs do at the same places. So every gradient may be as far off as the
 * furthest one of PyTorch's. The loss gets the bound of the logits that it comes from.
 */
import { join } from 'node:path'
import { models, nn, noGrad, readSafetensors, scope, type Tensor } from '../../ts/index.ts'
import type { Device } from '../../ts/tensor/index.ts'

const [folder, device = 'cuda'] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: resnet.ts FOLDER [DEVICE]')

const factor = 5
// Where PyTorch happens to be nearly exact, float32 rounding is allowed.
const floor = 2e-6

/** How far PyTorch's float32 is from float64 in `key`, or in what stands for it. */
function torchError(errors: Record<string, number>, key: string): number {
  if (key === 'loss') return Math.max(errors.loss ?? 0, errors.logits ?? 0)
  if (!key.startsWith('grad.')) return errors[key] ?? 0
  return Math.max(...Object.entries(errors).map(([name, error]) => (name.startsWith('grad.') ? error : 0)))
}

const host = (t: Tensor) => Array.from(t.dataSync(), Number)

/** How far `actual` is from `expected`, in the L2 norm and relative to it. */
function distance(actual: Tensor, expected: Tensor): number {
  const wanted = host(expected)
  const values = host(actual)
  if (values.length !== wanted.length) throw new Error(`${values.length} elements instead of ${wanted.length}`)
  let [difference, size] = [0, 0]
  for (const [i, w] of wanted.entries()) {
    difference += (values[i]! - w) ** 2
    size += w ** 2
  }
  return Math.sqrt(difference / size)
}

/** What is compared, by the reference's names. */
function step(model: models.ResNet, x: Tensor, y: Tensor): Map<string, Tensor> {
  const found = new Map<string, Tensor>()
  found.set(
    'eval',
    noGrad(() => model.eval().forward(x)),
  )
  const logits = model.train().forward(x)
  const loss = nn.F.crossEntropy(logits, y)
  loss.backward()
  found.set('logits', logits).set('loss', loss)
  for (const [name, p] of model.namedParameters()) if (p.grad !== null) found.set(`grad.${name}`, p.grad)
  for (const [name, t] of Object.entries(model.stateDict())) found.set(`after.${name}`, t)
  return found
}

/** Compares one model; the names of what is too far off. */
function compare(dir: string, name: 'resnet18' | 'resnet50'): string[] {
  const { tensors, metadata } = readSafetensors(join(dir, `${name}.safetensors`))
  const errors: Record<string, number> = JSON.parse(metadata.float32 ?? '{}')
  const { x, y, ...expected } = tensors
  const model = models.createModel(name, { pretrained: join(dir, `${name}-weights.safetensors`) })
  model.to(device as Device)
  const found = step(model, x!.to(device), y!.to(device))
  const rows = Object.entries(expected).map(([key, wanted]) => {
    const actual = found.get(key)
    const off = actual === undefined ? Number.POSITIVE_INFINITY : distance(actual, wanted)
    return { key, off, torch: errors[key] ?? 0, allowed: factor * torchError(errors, key) + floor }
  })
  const format = (n: number) => n.toExponential(1)
  const line = ({ key, off, torch }: (typeof rows)[number]) => `${key} ${format(off)} (torch ${format(torch)})`
  const shown = ['eval', 'logits', 'loss'].flatMap(key => rows.find(row => row.key === key) ?? [])
  const worst = rows.toSorted((a, b) => b.off / b.allowed - a.off / a.allowed).slice(0, 3)
  console.log(
    `${name} on ${device}: ${shown.map(line).join(', ')}; nearest to their bounds: ${worst.map(line).join(', ')}`,
  )
  // Negated, so that NaN counts.
  return rows.filter(row => !(row.off <= row.allowed)).map(line)
}

let failed = 0
for (const name of ['resnet18', 'resnet50'] as const) {
  const wrong = scope(() => compare(folder, name))
  if (wrong.length > 0) failed++
  for (const text of wrong) console.error(`${name}: too far off: ${text}`)
}
console.log(`${2 - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
