/** Data sets that live on a GPU: their tensors are copied there once, for all loaders, and batches are gathered there. */
import { WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { dtypeBytes } from '../tensor/dtype.ts'
import { Tensor } from '../tensor/index.ts'

/** The share of a device's free memory that data may take without having been asked for. */
const SHARE = 1 / 4

interface Copy {
  tensor: Tensor
  /** Of the source, when it was copied. */
  version: number
}
/** By source and device. A copy is freed after its source was collected. */
const copies = new WeakMap<Tensor, Map<number, Copy>>()

/** `source` as it is now on a device: itself, or its copy there, which is made again if the source has been written since. */
export function handleOn(device: number, source: Tensor): number {
  const { handle } = source
  if (native.deviceOf(handle) === device) return handle
  let onDevices = copies.get(source)
  if (onDevices === undefined) {
    onDevices = new Map()
    copies.set(source, onDevices)
  }
  const version = native.versionOf(handle)
  const known = onDevices.get(device)
  if (known?.version === version) return known.tensor.handle
  known?.tensor.dispose()
  onDevices.delete(device)
  const copied = native.toDevice(handle, device)
  native.keep(copied)
  const tensor = new Tensor(copied)
  tensor.track()
  onDevices.set(device, { tensor, version })
  return copied
}

/** Copies the tensors to a device if they take at most a quarter of its free memory; gives whether they can be read there. */
export function copyIfSmall(tensors: readonly Tensor[], device: number): boolean {
  const missing = tensors.filter(t => native.deviceOf(t.handle) !== device && !copies.get(t)?.has(device))
  const bytes = missing.reduce((sum, t) => sum + t.numel * dtypeBytes(t.dtype), 0)
  if (bytes > SHARE * native.freeMemory(device)) return false
  try {
    for (const t of tensors) handleOn(device, t)
    return true
  } catch (error) {
    if (error instanceof WickError && error.code === 'OUT_OF_MEMORY') return false
    throw error
  }
}
