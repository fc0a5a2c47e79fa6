/** How modules are printed: PyTorch's tree, spelled as PyTorch spells it, so that two printouts can be compared. */
import type { Module } from './module.ts'

/** A value as Python prints it: `True`, `None`, `(3, 3)`, `'tanh'`. Whole numbers stay whole; see `float`. */
export function python(value: unknown): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'string') return `'${value}'`
  if (Array.isArray(value)) return value.length === 1 ? `(${python(value[0])},)` : `(${value.map(python).join(', ')})`
  return typeof value === 'number' && !Number.isInteger(value) ? float(value) : String(value)
}

/** A number as Python prints a float: `1.0`, `1e-05`. */
export function float(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf'
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  }
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

/** `Name(repr)` on one line, or with the children indented below it. */
export function tree(module: Module, children: readonly (readonly [string, string])[] = printed(module)): string {
  const name = module.constructor.name
  const repr = module.extraRepr()
  if (children.length === 0) return `${name}(${repr})`
  const lines = children.map(([key, text]) => `  (${key}): ${text.replaceAll('\n', '\n  ')}`)
  return [`${name}(${repr === '' ? '' : `\n  ${repr}`}`, ...lines, ')'].join('\n')
}

/** The same with neighbours that print alike joined, for numbered children: `(0-2): 3 x Linear(...)`. */
export function shortTree(module: Module): string {
  const runs: { first: number; last: number; text: string }[] = []
  for (const [i, [, text]] of printed(module).entries()) {
    const run = runs.at(-1)
    if (run?.text === text) run.last = i
    else runs.push({ first: i, last: i, text })
  }
  const children = runs.map(({ first, last, text }): [string, string] =>
    first === last ? [`${first}`, text] : [`${first}-${last}`, `${last - first + 1} x ${text}`],
  )
  return tree(module, children)
}

function printed(module: Module): [string, string][] {
  return module.namedChildren().map(([name, child]) => [name, child.toString()])
}
