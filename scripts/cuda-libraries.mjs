// The CUDA libraries that the tests without a GPU use, from PyPI, pinned in cuda-libraries.txt: 865 MB to load.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePythonPackages } from './python-packages.mjs'

/**
 * Makes sure that the libraries are there, and resolves to the environment that lets wick find them: `WICK_CUDA_PATH`. One that
 * is set already wins. Where they can't be had it is not set.
 */
export async function ensureCudaLibraries() {
  if (process.env.WICK_CUDA_PATH) return {}
  const folder = await ensurePythonPackages({
    name: 'cuda-libraries',
    what: 'the CUDA libraries for tests without a GPU',
    pins: 'scripts/cuda-libraries.txt',
    without: "Without these libraries the tests that compile kernels and check cuDNN's graphs are skipped.",
  })
  if (folder === null) return {}
  const packages = join(folder, 'nvidia')
  const libraries = readdirSync(packages).map(name => join(packages, name, 'lib'))
  return { WICK_CUDA_PATH: libraries.filter(path => existsSync(path)).join(':') }
}
