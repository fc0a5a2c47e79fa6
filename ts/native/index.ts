/**
 * The native addon, loaded on import: the Rust engine behind plain functions. A tensor is a handle (a number), -1 is none.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, WickError } from '../errors.ts'
import type { NativeAddon } from './addon.ts'

export type { CudaDevice, CudaLibrary, NativeAddon, NativeProfile } from './addon.ts'

/** Folders that may hold the addon: beside this file (sources, `dist`), and the sources' when only `dist` was compiled. */
function folders(): string[] {
  const here = dirname(fileURLToPath(import.meta.url))
  const list = [here]
  for (let at = dirname(here); ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json'))) {
      list.push(join(at, 'ts', 'native'))
      return list
    }
    if (at === dirname(at)) return list
  }
}

function load(): NativeAddon {
  const platform = `${process.platform}-${process.arch}${process.platform === 'linux' ? '-gnu' : ''}`
  const file = `wick.${platform}.node`
  const forced = process.env.WICK_NATIVE
  const candidates = forced ? [forced] : folders().map(folder => join(folder, file))
  const path = candidates.find(candidate => existsSync(candidate))
  if (!path) {
    const where = `looked for ${candidates.join(', ')}`
    throw new WickError('NOT_SUPPORTED', `no native addon for ${platform}: run \`npm run build\` (${where})`)
  }
  try {
    return createRequire(import.meta.url)(path)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new WickError('NOT_SUPPORTED', `the native addon for ${platform} does not load: ${reason}`, { cause })
  }
}

/** Every export of the addon. */
export let native: NativeAddon = load()

/** Replaces `native` by functions that do more, or puts the addon back. */
export function useNative(functions: NativeAddon): void {
  native = functions
}

/** Makes the error of a failed native call; its stack begins at the call. */
function fromNative(code: string, op: string, message: string, operands: string[]): WickError {
  const details = operands.length > 0 ? { operands } : {}
  const error = new WickError(code as ErrorCode, message, op ? { op, details } : { details })
  Error.captureStackTrace(error, fromNative)
  return error
}
native.setErrorFactory(fromNative)

/** Looks an op's code up in the addon's own list, so that no number is written down twice. */
function coder(family: string, names: readonly string[]): (name: string) => number {
  return name => {
    const code = names.indexOf(name)
    if (code < 0)
      throw new WickError('INTERNAL', `the native addon has no ${family} '${name}': it is of another version`)
    return code
  }
}

/** The code of a pointwise function of one tensor, for `native.unary`. */
export const unaryCode: (name: string) => number = coder('unary op', native.unaryNames())
/** The code of a pointwise function of two tensors, for `native.binary` and `native.scalar`. */
export const binaryCode: (name: string) => number = coder('binary op', native.binaryNames())
/** The code of a reduction, for `native.reduce`. */
export const reduceCode: (name: string) => number = coder('reduction', native.reduceNames())
/** The names of the dtypes, by code. */
export const dtypeNames: readonly string[] = native.dtypeNames()
