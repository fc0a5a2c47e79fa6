/**
 * Training curves of 30 steps: a GPU, the CPU and PyTorch (`curve_reference.py`, with the `python3` that is on the PATH) from the same
 * weights and batches. PyTorch's float64 is what is right; each curve may be as far from it as PyTorch's own of that precision has been
 * up to that step, times a factor that allows for another order of summation.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  autocast,
  capture,
  cat,
  cuda,
  manualSeed,
  models,
  nn,
  optim,
  randint,
  randn,
  saveSafetensors,
  scope,
  type Tensor,
} from '../../ts/index.ts'
import type { Device } from '../../ts/tensor/index.ts'

type Precision = 'float32' | 'bfloat16'
type Network = nn.Module<[Tensor], Tensor>
interface Job {
  network: () => Network
  optimizer: (parameters: Iterable<Tensor>) => { zeroGrad(): void; step(): void }
  /** Of a batch. */
  shape: [number, ...number[]]
}
/** Initial weights and batches, in host memory. */
interface Start {
  weights: Record<string, Tensor>
  batches: [Tensor, Tensor][]
}

const gpu = (process.env.WICK_TEST_DEVICE ?? 'cuda') as Device
const steps = 30
const batches = 5
const factor = 8
/** What float32 may be off where PyTorch happens to be exact; and bfloat16, which has 8 bits. */
const floor = { float32: 2e-5, bfloat16: 1e-2 }

const sgd = (lr: number) => (p: Iterable<Tensor>) => new optim.SGD(p, { lr, momentum: 0.9, weightDecay: 5e-4 })
const conv = (from: number, to: number) => new nn.Conv2d(from, to, { kernelSize: 3, padding: 1 })
const { BatchNorm2d, Flatten, Linear, MaxPool2d, ReLU, Sequential } = nn

const jobs: Record<'mlp' | 'cnn' | 'resnet', Job> = {
  mlp: {
    network: () => new Sequential(new Linear(32, 64), new ReLU(), new Linear(64, 32), new ReLU(), new Linear(32, 10)),
    optimizer: sgd(0.05),
    shape: [16, 32],
  },
  cnn: {
    network: () =>
      new Sequential(
        ...[conv(1, 8), new BatchNorm2d(8), new ReLU(), new MaxPool2d(2)],
        ...[conv(8, 16), new BatchNorm2d(16), new ReLU(), new MaxPool2d(2)],
        ...[new Flatten(), new Linear(144, 32), new ReLU(), new Linear(32, 10)],
      ),
    optimizer: p => new optim.AdamW(p, { lr: 1e-3 }),
    shape: [16, 1, 12, 12],
  },
  resnet: {
    network: () => models.resnet18({ numClasses: 10, stem: 'cifar' }),
    optimizer: sgd(0.01),
    shape: [16, 3, 16, 16],
  },
}
const names = ['mlp', 'cnn', 'resnet'] as const
type Name = (typeof names)[number]

/** A digest of a tensor's bits. */
function bits(t: Tensor): string {
  const { buffer, byteOffset, byteLength } = t.dataSync()
  return createHash('sha256')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex')
    .slice(0, 16)
}

function begin(name: Name): Start {
  const { network, shape } = jobs[name]
  manualSeed(name.length)
  const weights = Object.fromEntries(
    Object.entries(network().stateDict()).map(([key, t]) => [key, t.detach().clone()] as const),
  )
  const batch = (): [Tensor, Tensor] => [randn(shape), randint(0, 10, [shape[0]])]
  return { weights, batches: Array.from({ length: batches }, batch) }
}

const starts = Object.fromEntries(names.map(name => [name, begin(name)])) as Record<Name, Start>
let folder: string
let reference: Record<Name, Record<'float64' | Precision, number[]>>

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'wick-curves-'))
  for (const name of names) {
    const { weights, batches } = starts[name]
    const named = Object.entries(weights).map(([key, t]) => [`weights.${key}`, t] as const)
    const stacked = (index: 0 | 1) => cat(batches.map(batch => batch[index].unsqueeze(0)))
    saveSafetensors(join(folder, `${name}.safetensors`), {
      ...Object.fromEntries(named),
      x: stacked(0),
      y: stacked(1),
    })
  }
  execFileSync('python3', ['test/gpu/curve_reference.py', folder], { stdio: ['ignore', 'inherit', 'inherit'] })
  reference = JSON.parse(readFileSync(join(folder, 'curves.json'), 'utf8'))
})
after(() => rmSync(folder, { recursive: true }))

interface Run {
  losses: number[]
  /** Digests of all parameters and buffers at the end. */
  state: Record<string, string>
}

/** Trains for 30 steps. */
function train(name: Name, device: Device, mode: 'off' | 'auto' | 'full', precision: Precision): Run {
  return scope(() => {
    const { network, optimizer: makeOptimizer } = jobs[name]
    const model = network()
    model.loadStateDict(starts[name].weights)
    model.to(device)
    const optimizer = makeOptimizer(model.parameters())
    const moved = starts[name].batches.map(([x, y]) => [x.to(device), y.to(device)] as const)
    const lossOf = (x: Tensor, y: Tensor) => nn.F.crossEntropy(model.forward(x), y)
    const step = capture(
      (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad()
        const loss = precision === 'bfloat16' ? autocast({}, () => lossOf(x, y)) : lossOf(x, y)
        loss.backward()
        optimizer.step()
        return loss
      },
      { mode },
    )
    const losses = Array.from({ length: steps }, (_, i) => step(...moved[i % batches]!).itemSync())
    if (mode !== 'off') {
      const { matched, full } = step.report()
      assert.ok(matched + full > steps / 2, `${name}: few steps were replayed: ${JSON.stringify(step.report())}`)
    }
    const state = Object.entries(model.stateDict()).map(([key, t]) => [key, bits(t)] as const)
    return { losses, state: Object.fromEntries(state) }
  })
}

/** Fails if a curve leaves the band around PyTorch's float64. */
function assertNear(name: Name, who: string, { losses }: Run, precision: Precision): void {
  const { float64: exact, [precision]: own } = reference[name]
  let torch = 0
  for (const [i, loss] of losses.entries()) {
    torch = Math.max(torch, Math.abs(own[i]! - exact[i]!))
    const allowed = factor * torch + floor[precision] * (1 + exact[i]!)
    const off = Math.abs(loss - exact[i]!)
    // Negated, so that NaN fails.
    if (!(off <= allowed)) {
      assert.fail(`${who}, step ${i}: ${loss} instead of ${exact[i]}, off by ${off}, allowed ${allowed}`)
    }
  }
}

for (const name of names) {
  test(`${name}: float32 on a GPU, on the CPU and in PyTorch train alike`, () => {
    assertNear(name, 'cpu', train(name, 'cpu', 'auto', 'float32'), 'float32')
    assertNear(name, gpu, train(name, gpu, 'auto', 'float32'), 'float32')
    assert.ok(reference[name].float64.at(-1)! < reference[name].float64[0]!, 'the loss falls')
  })

  test(`${name}: bfloat16 trains within the noise of PyTorch's`, () => {
    assertNear(name, gpu, train(name, gpu, 'auto', 'bfloat16'), 'bfloat16')
  })

  for (const precision of ['float32', 'bfloat16'] as const) {
    // cuDNN's fastest gradients of convolutions add up in any order.
    test(`${name}: with deterministic kernels all modes give the same bits in ${precision}, and give them twice`, () => {
      if (gpu !== 'cpu') cuda.useDeterministicAlgorithms(true)
      try {
        const eager = train(name, gpu, 'off', precision)
        for (const mode of ['off', 'auto', 'full'] as const)
          assert.deepEqual(train(name, gpu, mode, precision), eager, mode)
      } finally {
        if (gpu !== 'cpu') cuda.useDeterministicAlgorithms(false)
      }
    })
  }
}
