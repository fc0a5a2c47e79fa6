/** The layout of an optimizer's state dict: PyTorch's, so that checkpoints go both ways. */
import { type Form, isCount, isNumber, isRecord, listOf, recordOf, withFields } from '../forms.ts'
import type { Tensor } from '../tensor/index.ts'

/** What an optimizer has noted of one parameter: the updates that it has seen, and moments such as `exp_avg`. */
export type ParameterState = Record<string, Tensor | number>

/** A value of an option in a state dict. */
export type OptionValue = number | boolean | string | null | readonly number[]

/** Options of a group by PyTorch's names (`weight_decay`), and the numbers of its parameters. */
export interface SavedGroup {
  params: number[]
  [option: string]: OptionValue
}

/** An optimizer's state dict. */
export interface OptimizerState {
  /** By the parameter's number. Parameters that have not been updated are not in it. */
  state: Record<string, ParameterState>
  param_groups: SavedGroup[]
}

const isGroup = withFields({ params: listOf(isCount) })
const isParameters = recordOf(isRecord)

/** Whether a value has the form of a state dict; what its options and moments are is checked against the optimizer. */
export const isOptimizerState: Form<OptimizerState> = (value): value is OptimizerState =>
  isRecord(value) && isParameters(value.state) && listOf(isGroup)(value.param_groups)

/** Whether an option can be replaced by `given`: both are of one type. One that this optimizer lacks may be anything. */
export function sameKind(own: unknown, given: unknown): boolean {
  if (own === undefined || own === null) return true
  return Array.isArray(own) ? isNumbers(given) && given.length === own.length : typeof given === typeof own
}

const isNumbers = listOf(isNumber)

/** Options by PyTorch's names; what a state dict can't hold is left out. */
export function toTorchOptions(options: object): Record<string, OptionValue> {
  const saved: Record<string, OptionValue> = {}
  for (const [name, value] of Object.entries(options)) {
    if (isOptionValue(value)) saved[name.replace(/[A-Z]/g, c => `_${c.toLowerCase()}`)] = value
  }
  return saved
}

/** Options by their names here. */
export function fromTorchOptions(saved: Readonly<Record<string, OptionValue>>): Record<string, OptionValue> {
  const camel = (name: string) => name.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase())
  return Object.fromEntries(Object.entries(saved).map(([name, value]) => [camel(name), value]))
}

function isOptionValue(value: unknown): value is OptionValue {
  if (Array.isArray(value)) return value.every(v => typeof v === 'number')
  return value === null || ['number', 'boolean', 'string'].includes(typeof value)
}
