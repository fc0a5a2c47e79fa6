// The CUDA libraries that the tests without a GPU use, from PyPI, pinned in cuda-libraries.txt: 865 MB to load.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CommandError, hashFiles, mustRun, root } from './lib.mjs'

const pins = 'scripts/cuda-libraries.txt'
const folder = join(root, 'dist/cuda-libraries')
const flags = ['--quiet', '--no-deps', '--no-compile', '--only-binary=:all:', '--require-hashes']

/** Puts the libraries into the folder, all or nothing. */
async function install(stamp) {
  console.error('Installing the CUDA libraries for tests without a GPU')
  const fresh = `${folder}.${process.pid}`
  mkdirSync(dirname(folder), { recursive: true })
  try {
    await mustRun('python3', ['-m', 'pip', 'install', ...flags, '--target', fresh, '--requirement', pins])
    writeFileSync(join(fresh, stamp), '')
    rmSync(folder, { recursive: true, force: true })
    renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/**
 * Makes sure that the libraries are there, and resolves to the environment that lets wick find them: `WICK_CUDA_PATH`. One that
 * is set already wins. Where they can't be had it is not set and says so; in CI that is an error, since a test that needs them
 * must not be skipped unseen there.
 */
export async function ensureCudaLibraries() {
  if (process.env.WICK_CUDA_PATH) return {}
  const stamp = `.${hashFiles([pins]).slice(0, 16)}`
  try {
    if (!existsSync(join(folder, stamp))) await install(stamp)
  } catch (error) {
    if (process.env.CI || !(error instanceof CommandError)) throw error
    console.error(
      `${error.message}\nWithout these libraries the tests that compile kernels and check cuDNN's graphs are skipped.`,
    )
    return {}
  }
  const packages = join(folder, 'nvidia')
  const libraries = readdirSync(packages).map(name => join(packages, name, 'lib'))
  return { WICK_CUDA_PATH: libraries.filter(path => existsSync(path)).join(':') }
}
