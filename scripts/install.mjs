// Installs the devDependencies when node_modules is missing or older than the lockfile.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { bun, CommandError, installedNode, mustRun, root } from './lib.mjs'

const readJson = path => JSON.parse(readFileSync(join(root, path), 'utf8'))

/** npm writes what it installed into node_modules; compare that with the lockfile, and the lockfile with package.json. */
function isInstalled() {
  if (!existsSync(join(root, 'node_modules/.package-lock.json'))) return false
  const lock = readJson('package-lock.json').packages
  const installed = readJson('node_modules/.package-lock.json').packages
  const wanted = readJson('package.json').devDependencies
  if (JSON.stringify(lock[''].devDependencies) !== JSON.stringify(wanted)) return false
  return Object.entries(lock).every(([path, { version, optional }]) => {
    if (path === '') return true
    // Optional packages are those of other platforms as well as ours.
    return path in installed ? installed[path].version === version : optional === true
  })
}

/** npm can be told not to run install scripts; without its own, the bun package is a placeholder of a few hundred bytes. */
const hasBun = () => existsSync(bun) && statSync(bun).size > 1_000_000

export async function ensureInstalled() {
  if (!isInstalled()) {
    const npm = process.env.npm_execpath
    const args = ['install', '--no-audit', '--no-fund']
    if (npm) await mustRun(installedNode, [npm, ...args], { inherit: true })
    else await mustRun('npm', args, { inherit: true })
  }
  if (!hasBun()) await mustRun(installedNode, [join(root, 'node_modules/bun/install.js')], { inherit: true })
  if (!hasBun()) throw new CommandError('the bun package has no binary for this machine')
}
