/** Tensors on disk: the safetensors format. */
import { badOption } from '../errors.ts'
import { native } from '../native/index.ts'
import { getDefaultDevice } from './dtype.ts'
import { replaced } from './lifetime.ts'
import { handle } from './operand.ts'
import { Tensor } from './tensor.ts'

/** The tensors and the metadata of a safetensors file. */
export interface SafetensorsFile {
  tensors: Record<string, Tensor>
  metadata: Record<string, string>
}

/** Reads the tensors of a safetensors file, by name and in its order, to the default device. `BAD_FILE` if it isn't one. */
export function loadSafetensors(path: string): Record<string, Tensor> {
  return readSafetensors(path).tensors
}

/** As `loadSafetensors`, with the file's metadata. */
export function readSafetensors(path: string): SafetensorsFile {
  const { names, handles, metadata } = native.loadSafetensors(path)
  const device = getDefaultDevice()
  const read = (handle: number) => {
    const x = new Tensor(handle)
    return replaced(x, x.to(device))
  }
  return { tensors: Object.fromEntries(names.map((name, i) => [name, read(handles[i]!)])), metadata }
}

/** Writes tensors, by name, to a safetensors file; `metadata` holds strings. */
export function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors as Readonly<Record<string, Tensor>>)
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw badOption('saveSafetensors', `metadata '${key}' must be a string`)
  }
  const names = entries.map(([name]) => name)
  const handles = entries.map(([, x]) => handle('saveSafetensors', x))
  native.saveSafetensors(path, names, handles, metadata)
}
