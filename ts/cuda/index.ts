/** CUDA devices. Tensors go there with `to('cuda')` or the `device` option. */
import { badOption } from '../errors.ts'
import { type CudaDevice, type CudaLibrary, native } from '../native/index.ts'
import { deviceCode } from '../tensor/dtype.ts'

/** Whether there is a GPU that tensors can be on. */
export function isAvailable(): boolean {
  return deviceCount() > 0
}

/** GPUs that the driver shows; 0 where it is missing. */
export function deviceCount(): number {
  return native.cudaDevices().length
}

/** What is known of a GPU. Throws `BAD_OPTION` for an index that there isn't. */
export function getDeviceProperties(index = 0): CudaDevice {
  const found = native.cudaDevices()[index]
  if (found === undefined) throw badOption('cuda.getDeviceProperties', `there is no CUDA device ${index}`)
  return found
}

/** Each library of CUDA: where it was found, or why it can't be used. */
export function libraries(): CudaLibrary[] {
  return native.probeCuda()
}

/** Waits for all work given to a GPU. */
export function synchronize(device = 'cuda'): void {
  native.cudaSynchronize(indexOf('cuda.synchronize', device))
}

/** `'high'` lets float32 products and convolutions round their operands to TF32; `'highest'`, the default, doesn't. */
export function setFloat32MatmulPrecision(precision: 'highest' | 'high', device = 'cuda'): void {
  const op = 'cuda.setFloat32MatmulPrecision'
  if (precision !== 'highest' && precision !== 'high') {
    throw badOption(op, `expected 'highest' or 'high', got '${String(precision)}'`)
  }
  native.setCudaOption(indexOf(op, device), 0, precision === 'high')
}

/** Whether kernels give the same bits from run to run even where atomics would be faster. */
export function useDeterministicAlgorithms(on: boolean, device = 'cuda'): void {
  native.setCudaOption(indexOf('cuda.useDeterministicAlgorithms', device), 1, on)
}

function indexOf(op: string, device: string): number {
  const code = deviceCode(op, device)
  if (code === 0) throw badOption(op, `'${device}' is no GPU`)
  return code - 1
}
