/** What wick knows of CUDA on this machine, in the words of the command line. */
import { existsSync } from 'node:fs'
import type { CudaDevice, CudaLibrary, NativeAddon } from '../native/addon.ts'
import { bytesInWords } from './system.ts'

/** The libraries and devices; `problem` says why there are no devices, if that isn't the libraries' fault. */
export interface Cuda {
  libraries: CudaLibrary[]
  devices: CudaDevice[]
  problem?: string
}

/** Asks the addon. A driver that doesn't answer is a problem, not an error. */
export function cudaOf(native: NativeAddon): Cuda {
  const libraries = native.probeCuda()
  try {
    return { libraries, devices: native.cudaDevices() }
  } catch (error) {
    return { libraries, devices: [], problem: error instanceof Error ? error.message : String(error) }
  }
}

/**
 * Whether there is a driver, be it one that can't be used: its library, or the device file of its kernel module (Linux, WSL).
 * Without one this is a machine without a GPU, and nothing of CUDA is missed.
 */
export function hasDriver({ libraries }: Cuda): boolean {
  return libraries.some(({ name, path }) => name === 'cuda' && path) || driverFiles.some(file => existsSync(file))
}

const driverFiles = ['/dev/nvidiactl', '/dev/dxg']

/** Whether training on one GPU needs a library. */
export const isRequired = ({ name }: CudaLibrary): boolean => name !== 'nccl'

/** `found 13.0.0 (/usr/lib/libnvrtc.so.13)`, or why it can't be used. */
export function libraryInWords({ path, version, problem }: CudaLibrary): string {
  return problem || `found ${version} (${path})`
}

/** `NVIDIA H100, 79.1 GiB, compute capability 9.0, 132 multiprocessors`. */
export function deviceInWords({ name, memoryBytes, compute, multiprocessors }: CudaDevice): string {
  const capability = `compute capability ${compute.join('.')}`
  return `${name}, ${bytesInWords(memoryBytes)}, ${capability}, ${multiprocessors} multiprocessors`
}
