/**
 * Marks in the names of files that are being written. A mark says who writes, so that what a crash left is told from what another
 * process writes at the moment; and it is random, so that no two writers, in whatever container or thread, use one name.
 */
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { hostname } from 'node:os'

/** A mark as part of a regular expression: the space of process numbers, the process, the thread and a number, both random. */
export const MARK = '[0-9a-f]{8}-\\d+-[0-9a-f]{16}'
const parts = /([0-9a-f]{8})-(\d+)-([0-9a-f]{8})[0-9a-f]{8}/
const temporary = new RegExp(`\\.${MARK}\\.tmp$`)

/** After so many milliseconds a file is left behind, although nobody knows whether its writer has ended. */
const OLD = 3_600_000

/** Process numbers mean one process within a machine's uptime and a pid namespace. */
const space = createHash('sha256').update([hostname(), bootId(), pidNamespace()].join('\n')).digest('hex').slice(0, 8)
const thread = randomBytes(4).toString('hex')
/** Of the files that this thread writes at the moment. */
const inUse = new Set<string>()

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
  } catch {
    return ''
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** A new mark, in use until `endMark`. */
export function beginMark(): string {
  const mark = `${space}-${process.pid}-${thread}${randomBytes(4).toString('hex')}`
  inUse.add(mark)
  return mark
}

/** The file of this mark is complete or given up. */
export function endMark(mark: string): void {
  inUse.delete(mark)
}

/** The name beside `path` under which it is written. */
export function temporaryPath(path: string, mark: string): string {
  return `${path}.${mark}.tmp`
}

/** Whether `name` is one that `temporaryPath` makes. */
export function isTemporary(name: string): boolean {
  return temporary.test(name)
}

/** Whether nobody writes the file at `path` any more. Its name has a mark, or else only its age counts. */
export function isLeftBehind(path: string): boolean {
  const [mark, where, pid, writer] = parts.exec(path.slice(path.lastIndexOf('/') + 1)) ?? []
  if (mark !== undefined && inUse.has(mark)) return false
  if (writer === thread || (where === space && !isAlive(Number(pid)))) return true
  const status = statSync(path, { throwIfNoEntry: false })
  return status !== undefined && Date.now() - status.mtimeMs > OLD
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // A process of another user can't be signalled, but is there.
    return (error as { code?: unknown }).code !== 'ESRCH'
  }
}
