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
    command: withoutSecrets(process.argv),
    folder: process.cwd(),
    git: gitState(process.cwd()),
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

/** Names of options whose values are nobody's business. */
const SECRET = /(^|[-_.])(api-?key|key|token|secret|passw(or)?d|pass|pwd|credentials?|auth)$/i

/** A command line with `***` for the values of options that are secrets by their names: `--token=x`, `--token x`, `TOKEN=x`. */
export function withoutSecrets(command: readonly string[]): string[] {
  const isSecret = (name: string) => SECRET.test(name.replaceAll(/([a-z])([A-Z])/g, '$1-$2').replace(/^-+/, ''))
  return command.map((word, i) => {
    const [, name, value] = /^(-{0,2}[\w.-]+)=(.*)$/s.exec(word) ?? []
    if (name !== undefined && value !== undefined) return isSecret(name) ? `${name}=***` : word
    const before = command[i - 1] ?? ''
    return /^-{1,2}[\w.-]+$/.test(before) && isSecret(before) && !word.startsWith('--') ? '***' : word
  })
}

/** The revision and branch of the repository that `folder` is in, null outside of one. */
export function gitState(folder: string): Environment['git'] {
  // Nothing of the repository runs, no lock is taken, and a slow disk doesn't hold up the run.
  const careful = ['--no-optional-locks', '-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null']
  const git = (...args: string[]) =>
    execFileSync('git', [...careful, ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5000,
      killSignal: 'SIGKILL',
    }).trim()
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
