/** Facts about the machine and the runtime that don't need the addon. */
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { arch, cpus, freemem, homedir, platform, release, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** wick's version, from the package that this file is part of. */
export function packageVersion(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    const manifest = join(at, 'package.json')
    if (existsSync(manifest)) {
      const { version }: { version?: string } = JSON.parse(readFileSync(manifest, 'utf8'))
      return version ?? 'unknown'
    }
    if (at === dirname(at)) return 'unknown'
  }
}

/** The JavaScript runtime: its name and version. */
export function runtime(): { name: 'Bun' | 'Node'; version: string } {
  const { bun, node } = process.versions
  return bun ? { name: 'Bun', version: bun } : { name: 'Node', version: node }
}

/** The C library as `glibc 2.36`, or undefined where there is none or it doesn't say. */
function libc(): string | undefined {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  const version = report?.header?.glibcVersionRuntime
  return version && `glibc ${version}`
}

/** Operating system, release, architecture and C library in one line. */
export function system(): string {
  return [`${platform()} ${release()} ${arch()}`, libc()].filter(Boolean).join(', ')
}

/** The CPU's model and number of cores, and those of its features that kernels make use of. */
export function cpu(): { model: string; cores: number; features: string[] } {
  const cores = cpus()
  const wanted = /^(?:avx\w*|fma|f16c|amx\w*)$/
  const flags = /^flags\s*:(.*)$/m.exec(existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '')?.[1]
  const features = (flags ?? '').split(' ').filter(flag => wanted.test(flag))
  return { model: cores[0]?.model.trim() ?? 'unknown', cores: cores.length, features }
}

/** Main memory in bytes. */
export function mainMemory(): { total: number; free: number } {
  return { total: totalmem(), free: freemem() }
}

/** Bytes that an ordinary user may still write to the file system that holds `path`. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path)
  return bavail * bsize
}

/** Where compiled kernels are kept: `WICK_CACHE_DIR`, or wick's folder in the user's cache; as `wick-cuda` finds it. */
export function cacheFolder(): string {
  const { WICK_CACHE_DIR: given, XDG_CACHE_HOME: caches } = process.env
  if (given) return given
  if (caches) return join(caches, 'wick')
  return process.env.HOME ? join(homedir(), '.cache', 'wick') : join(tmpdir(), 'wick')
}

/** wick's settings in the environment. */
export function settings(): Record<string, string> {
  const names = Object.keys(process.env).filter(name => name.startsWith('WICK_'))
  return Object.fromEntries(names.sort().map(name => [name, process.env[name] ?? '']))
}

/** A number of bytes in words. */
export function bytesInWords(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`
}
