/** What a run was made with: versions, the machine, the revision of the sources. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { arch, cpus, hostname, platform, release, totalmem } from 'node:os'

/** The environment of a run. */
export interface Environment {
  command: string[]
  /** The folder in which the process runs. */
  folder: string
  /** null outside a git repository. */
  git: { revision: string; branch: string; uncommittedChanges: boolean } | null
  versions: Record<string, string>
  machine: { host: string; system: string; processor: string; cores: number; memoryBytes: number }
}

/** The environment of this process. */
export function environment(): Environment {
  const { node, bun } = process.versions
  const processors = cpus()
  return {
    command: process.argv,
    folder: process.cwd(),
    git: gitState(),
    versions: { wick: wickVersion(), ...(bun === undefined ? { node } : { bun }) },
    machine: {
      host: hostname(),
      system: `${platform()} ${release()} ${arch()}`,
      processor: processors[0]?.model ?? 'unknown',
      cores: processors.length,
      memoryBytes: totalmem(),
    },
  }
}

function gitState(): Environment['git'] {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const [revision, branch] = [git('rev-parse', 'HEAD'), git('rev-parse', '--abbrev-ref', 'HEAD')]
    return { revision, branch, uncommittedChanges: git('status', '--porcelain', '--untracked-files=no') !== '' }
  } catch {
    return null
  }
}

/** The version in the package's own package.json, beside the sources or two folders above the compiled files. */
function wickVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<
        string,
        string
      >
      if (name === 'wick-ml' && version !== undefined) return version
    } catch {}
  }
  return 'unknown'
}
