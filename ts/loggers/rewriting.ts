/** Rewriting files of text: what is written lies beside the file until it takes its name, so that a kill leaves the old one or the new one. */
import { closeSync, fsyncSync, openSync, readdirSync, readSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beginMark, endMark, isLeftBehind, isTemporary, temporaryPath } from '../checkpoint/marks.ts'

const PIECE = 1 << 16

/** Replaces the file `path` by what `write` adds, and removes what killed processes left in its folder. */
export function rewrite(path: string, write: (add: (text: string) => void) => void): void {
  const mark = beginMark()
  const beside = temporaryPath(path, mark)
  try {
    const file = openSync(beside, 'wx')
    try {
      let waiting = ''
      write(text => {
        waiting += text
        if (waiting.length < PIECE) return
        writeFileSync(file, waiting)
        waiting = ''
      })
      writeFileSync(file, waiting)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  } finally {
    endMark(mark)
  }
  for (const name of readdirSync(dirname(path))) {
    const left = join(dirname(path), name)
    if (isTemporary(name) && isLeftBehind(left)) rmSync(left, { force: true })
  }
}

/** The lines of a file without their ends, none if there is no file. A last one without an end, which a crash cut off, is left out. */
export function* wholeLines(path: string): Generator<string> {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return
    throw error
  }
  try {
    const piece = Buffer.alloc(PIECE)
    const decoder = new TextDecoder()
    let begun = ''
    for (let size = readSync(file, piece); size > 0; size = readSync(file, piece)) {
      const lines = (begun + decoder.decode(piece.subarray(0, size), { stream: true })).split('\n')
      begun = lines.pop() ?? ''
      yield* lines
    }
  } finally {
    closeSync(file)
  }
}
