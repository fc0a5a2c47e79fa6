// Python packages that tests use, from PyPI, pinned with hashes, in folders of their own.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CommandError, hashFiles, mustRun, root } from './lib.mjs'

const flags = ['--quiet', '--no-deps', '--no-compile', '--only-binary=:all:', '--require-hashes']

/** Puts the packages of `pins` into `folder`, all or nothing. */
async function install(what, pins, folder, stamp) {
  console.error(`Installing ${what}`)
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
 * Makes sure that the packages of the file `pins` are in `dist/NAME`, and gives that folder. Where they can't be had it gives null and
 * says that `without` them something is skipped; in CI that is an error, since a test must not be skipped unseen there.
 */
export async function ensurePythonPackages({ name, what, pins, without }) {
  const folder = join(root, 'dist', name)
  const stamp = `.${hashFiles([pins]).slice(0, 16)}`
  try {
    if (!existsSync(join(folder, stamp))) await install(what, pins, folder, stamp)
    return folder
  } catch (error) {
    if (process.env.CI || !(error instanceof CommandError)) throw error
    console.error(`${error.message}\n${without}`)
    return null
  }
}
