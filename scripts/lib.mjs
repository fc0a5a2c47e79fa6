// What the commands share. Only Node's own modules: these scripts run before anything is installed.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The Node that started npm. `node` on the PATH of an npm script can be one of the aliased devDependencies instead. */
export const installedNode = process.env.npm_node_execpath ?? process.execPath

export const bun = join(root, 'node_modules/bun/bin/bun.exe')
export const node22 = join(root, 'node_modules/node22/bin/node')
export const node24 = join(root, 'node_modules/node24/bin/node')
export const tsc = join(root, 'node_modules/typescript/bin/tsc')

/** A failure the user can act on: printed without a stack. */
export class CommandError extends Error {}

/**
 * Runs a program in the repository root and resolves with its exit code and output.
 * `echo: 'stderr'` shows only stderr, `false` nothing; `inherit` gives the program the terminal itself, and then `output` is empty.
 * After `timeout` milliseconds, if given, it is killed.
 */
export function run(command, args, { env = {}, echo = true, inherit = false, timeout } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      ...(timeout && { timeout, killSignal: 'SIGKILL' }),
      env: { ...process.env, ...env },
      stdio: inherit ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    })
    const chunks = { stdout: [], stderr: [] }
    for (const name of ['stdout', 'stderr']) {
      child[name]?.on('data', chunk => {
        chunks[name].push(chunk)
        if (echo === true || echo === name) process[name].write(chunk)
      })
    }
    child.on('error', error =>
      reject(error.code === 'ENOENT' ? new CommandError(`${command} is not installed`) : error),
    )
    child.on('close', (code, signal) => {
      const stdout = Buffer.concat(chunks.stdout).toString()
      const stderr = Buffer.concat(chunks.stderr).toString()
      resolve({ code: code ?? 1, signal, stdout, stderr, output: stdout + stderr })
    })
  })
}

/** Like `run`, but a non-zero exit code is an error. */
export async function mustRun(command, args, options) {
  const result = await run(command, args, options)
  if (result.code !== 0)
    throw new CommandError(`${command} ${args.join(' ')} exited with ${result.signal ?? result.code}`)
  return result
}

/** Every file under the given files and folders, sorted, as paths relative to the root. */
export function listFiles(paths, accept = () => true) {
  const found = []
  const visit = path => {
    const full = join(root, path)
    if (!existsSync(full)) return
    if (statSync(full).isDirectory()) for (const name of readdirSync(full).sort()) visit(`${path}/${name}`)
    else if (accept(path)) found.push(path)
  }
  for (const path of paths) visit(path)
  return found
}

/** A digest of names and contents. Contents, not times: a checkout changes every time without changing a file. */
export function hashFiles(files) {
  const hash = createHash('sha256')
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(root, file)))
      .update('\0')
  return hash.digest('hex')
}

/** Runs a command's main function, turning expected failures into one line and an exit code. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}
