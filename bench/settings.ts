/** What a step of each job computes, on each device. PyTorch's side, `torch_twin.py`, has the same table. */
import { optim, type Tensor } from '../ts/index.ts'
import { type DeviceName, isMnist, type JobName, type MnistJobName, type Precision, type Unit } from './names.ts'
import { cifarResnet18, cnn, mlp, type Network, resnet50 } from './networks.ts'

export interface StepSettings {
  network: () => Network
  optimizer: (parameters: Iterable<Tensor>) => { zeroGrad(): void; step(): void }
  /** Moments that the optimizer keeps for each parameter. */
  moments: number
  /** Of a batch. */
  shape: readonly [number, ...number[]]
  classes: number
  /** The steps go round a ring of this many batches, which are on the device. */
  ring: number
  precision: Precision
  unit: Unit
}

const sgd = { optimizer: (p: Iterable<Tensor>) => new optim.SGD(p, { lr: 0.01, momentum: 0.9 }), moments: 1 }
const adamw = { optimizer: (p: Iterable<Tensor>) => new optim.AdamW(p, { lr: 1e-3 }), moments: 2 }
const decayingSgd = (weightDecay: number) => ({
  optimizer: (p: Iterable<Tensor>) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, weightDecay }),
  moments: 1,
})

const small = { ring: 16, classes: 10, unit: 'samples/s' } as const
const mlpOf = (batch: number) => ({ network: mlp, shape: [batch, 784] as const, ...sgd, ...small })
const cnn64 = { network: cnn, shape: [64, 1, 28, 28] as const, ...adamw, ...small }
const resnet18Of = (batch: number, ring: number) => ({
  network: cifarResnet18,
  shape: [batch, 3, 32, 32] as const,
  classes: 10,
  ring,
  unit: 'images/s' as const,
  ...decayingSgd(5e-4),
})

/** The jobs that are steps and nothing else. */
export type StepJobName = Exclude<JobName, MnistJobName>

const settings: Record<StepJobName, Omit<StepSettings, 'precision'>> = {
  mlp32: mlpOf(32),
  mlp512: mlpOf(512),
  cnn64,
  resnet18: resnet18Of(32, 2),
  'resnet18-128': resnet18Of(128, 16),
  'resnet18-1024': resnet18Of(1024, 16),
  resnet50: {
    network: resnet50,
    shape: [128, 3, 224, 224],
    classes: 1000,
    ring: 2,
    unit: 'images/s',
    ...decayingSgd(1e-4),
  },
}

/** What a step of a job is. A step of the MNIST jobs computes what `mlp32` does. */
export function settingsOf(job: JobName, device: DeviceName): StepSettings {
  const low = job.startsWith('resnet') ? 'bfloat16' : 'tf32'
  return { ...settings[isMnist(job) ? 'mlp32' : job], precision: device === 'cpu' ? 'float32' : low }
}
