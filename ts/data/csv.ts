/** CSV files (RFC 4180) as datasets, with typed columns. */
import { badOption, checkOptions, nearest } from '../errors.ts'
import type { Dataset } from './dataset.ts'
import { RecordFile, type RecordFinder } from './record-file.ts'

const [LF, CR, QUOTE] = [10, 13, 34]

/** The fields of a row by column, as they stand in the file. */
export type CsvRow = Readonly<Record<string, string>>

/**
 * What a field of an item is made of: the column of that name as a string, a number (`'float'`), a whole number (`'int'`), or a
 * boolean (`true`, `false`, `1`, `0`); several columns of numbers as one Float32Array; or what a function makes of the
 * whole row, whose parameter has to be written with its type: `(row: data.CsvRow) => ...`.
 */
export type CsvColumn = 'string' | 'float' | 'int' | 'bool' | readonly string[] | ((row: CsvRow) => unknown)

/** An item of a CSV file with these columns. */
export type CsvItem<Columns extends Readonly<Record<string, CsvColumn>>> = {
  -readonly [K in keyof Columns]: Columns[K] extends 'string'
    ? string
    : Columns[K] extends 'float' | 'int'
      ? number
      : Columns[K] extends 'bool'
        ? boolean
        : Columns[K] extends readonly string[]
          ? Float32Array
          : Columns[K] extends (...args: never) => infer Out
            ? Out
            : never
}

/** Options of `csv`. */
export interface CsvOptions<Columns extends Readonly<Record<string, CsvColumn>>> {
  /** The fields of an item. Default: all columns as strings. */
  columns?: Columns | undefined
  /** Whether the first row names the columns (the default), or their names if it doesn't. */
  header?: true | readonly string[] | undefined
  /** What stands between fields: one ASCII character. Default `,`. */
  delimiter?: string | undefined
}

/**
 * The rows of a CSV file as records. Fields may be quoted, with delimiters, line ends and doubled quotes inside; rows end with
 * LF or CRLF, and empty lines are left out. The file is read through once for the places of its rows, which are all that is held in
 * memory. A file that can't be read, a row with another number of fields, a misplaced quote and a field of another type are `BAD_FILE`
 * errors that name the line.
 *
 * ```ts
 * const iris = data.csv('iris.csv', { columns: { x: ['sepal_length', 'sepal_width'], species: 'int' } })
 * const { x, species } = await iris.get(0) // Float32Array of 2, number
 * ```
 */
export function csv<const Columns extends Readonly<Record<string, CsvColumn>> = Record<string, 'string'>>(
  path: string,
  options: CsvOptions<Columns> = {},
): Dataset<CsvItem<Columns>> {
  checkOptions('csv', options, ['columns', 'header', 'delimiter'])
  const { header = true, delimiter = ',' } = options
  const comma = delimiter.charCodeAt(0)
  if (delimiter.length !== 1 || comma > 127 || [LF, CR, QUOTE].includes(comma)) {
    throw badOption('csv', `delimiter must be one ASCII character other than a quote or line end, not '${delimiter}'`)
  }
  if (header !== true && !Array.isArray(header)) throw badOption('csv', 'header must be true or a list of names')
  const file = new RecordFile(path, (add, fail) =>
    findRows(comma, header === true ? undefined : header.length, add, fail),
  )
  const first = header === true ? 1 : 0
  if (file.length < first) throw file.bad(0, 'expected a row with the names of the columns, found nothing')
  const names = header === true ? splitRow(file.text(0, 'csv'), delimiter) : header
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw file.bad(0, `two columns are named '${twice}'`)
  const columns: Readonly<Record<string, CsvColumn>> =
    options.columns ?? Object.fromEntries(names.map(name => [name, 'string']))
  const readers = Object.entries(columns).map(([name, column]) => [name, readerOf(name, column, names)] as const)
  return {
    length: file.length - first,
    get(index) {
      const fields = splitRow(file.text(index + first, 'csv'), delimiter)
      const fail = (message: string) => file.bad(index + first, message)
      return Object.fromEntries(readers.map(([name, read]) => [name, read(fields, fail)])) as CsvItem<Columns>
    },
  }
}

type FieldReader = (fields: readonly string[], fail: (message: string) => Error) => unknown

function readerOf(name: string, column: CsvColumn, names: readonly string[]): FieldReader {
  if (typeof column === 'function') {
    return fields => column(Object.fromEntries(names.map((key, i) => [key, fields[i] ?? ''])))
  }
  if (typeof column !== 'string') {
    const places = column.map(part => [part, placeOf(part, names)] as const)
    return (fields, fail) => Float32Array.from(places, ([part, at]) => numberOf(fields[at] ?? '', part, fail))
  }
  const at = placeOf(name, names)
  switch (column) {
    case 'string':
      return fields => fields[at] ?? ''
    case 'float':
      return (fields, fail) => numberOf(fields[at] ?? '', name, fail)
    case 'int':
      return (fields, fail) => {
        const value = numberOf(fields[at] ?? '', name, fail)
        if (Number.isSafeInteger(value)) return value
        throw fail(`column '${name}': expected a whole number, found '${fields[at]}'`)
      }
    case 'bool':
      return (fields, fail) => {
        const value = booleans.get((fields[at] ?? '').trim().toLowerCase())
        if (value !== undefined) return value
        throw fail(`column '${name}': expected true, false, 1 or 0, found '${fields[at]}'`)
      }
    default:
      throw badOption('csv', `column '${name}' has an unknown type '${String(column)}'`)
  }
}

const booleans = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
])

function placeOf(name: string, names: readonly string[]): number {
  const at = names.indexOf(name)
  if (at !== -1) return at
  const near = nearest(name, names)
  throw badOption(
    'csv',
    `there is no column '${name}'; ${near ? `did you mean '${near}'?` : `columns: ${names.join(', ')}`}`,
  )
}

/** A decimal number, `nan`, `inf` or `infinity`: what other tools write. */
const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i
const special = /^([+-]?)(nan|inf|infinity)$/i

function numberOf(text: string, name: string, fail: (message: string) => Error): number {
  const trimmed = text.trim()
  if (number.test(trimmed)) return Number(trimmed)
  const word = special.exec(trimmed)
  if (word === null) throw fail(`column '${name}': expected a number, found '${text}'`)
  if (word[2]?.toLowerCase() === 'nan') return Number.NaN
  return word[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}

/** Where a byte stands: before a field, in a plain one, in a quoted one, or after a quote in a quoted one. */
const states = { before: 0, plain: 1, quoted: 2, afterQuote: 3 } as const

/** Finds rows, and checks their quotes and that all have `count` fields, by default those of the first. */
function findRows(
  comma: number,
  count: number | undefined,
  add: (start: number, end: number) => void,
  fail: (line: number, message: string) => Error,
): RecordFinder {
  const { before, plain, quoted, afterQuote } = states
  let state: number = before
  let start = -1
  let fields = 1
  let [line, rowLine, quoteLine] = [1, 1, 1]
  let lastByte = 0
  let expected = count
  const row = (end: number) => {
    const stop = lastByte === CR && end > start ? end - 1 : end
    if (stop > start) {
      expected ??= fields
      if (fields !== expected) throw fail(rowLine, `expected ${expected} fields, found ${fields}`)
      add(start, stop)
    }
    fields = 1
    state = before
  }
  return {
    push(bytes, at) {
      if (start === -1) start = at
      for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i] ?? 0
        if (byte === LF) {
          line++
          if (state !== quoted) {
            row(at + i)
            start = at + i + 1
            rowLine = line
          }
        } else if (state === quoted) {
          if (byte === QUOTE) state = afterQuote
        } else if (byte === comma) {
          fields++
          state = before
        } else if (byte === QUOTE) {
          if (state === plain) throw fail(line, 'a quote inside a field that has none at its start')
          if (state === before) quoteLine = line
          state = quoted
        } else if (state === before) state = plain
        else if (state === afterQuote && byte !== CR) throw fail(line, 'characters after the closing quote of a field')
        lastByte = byte
      }
    },
    end(size) {
      if (state === quoted) throw fail(quoteLine, 'a quote that is never closed')
      if (start !== -1 && size > start) row(size)
    },
  }
}

/** The fields of a row whose quotes are in order. */
function splitRow(text: string, delimiter: string): string[] {
  if (!text.includes('"')) return text.split(delimiter)
  const fields: string[] = []
  let at = 0
  for (;;) {
    let end: number
    if (text[at] === '"') {
      end = text.indexOf('"', at + 1)
      while (text[end + 1] === '"') end = text.indexOf('"', end + 2)
      fields.push(text.slice(at + 1, end).replaceAll('""', '"'))
      end++
    } else {
      end = text.indexOf(delimiter, at)
      if (end === -1) end = text.length
      fields.push(text.slice(at, end))
    }
    if (end >= text.length) return fields
    at = end + 1
  }
}
