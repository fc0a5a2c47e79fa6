/** Forms of plain data: what came out of a file or a caller's hands is of no type before it was looked at. */
import { WickError } from './errors.ts'

/** Whether a value has a form. */
export type Form<T> = (value: unknown) => value is T

export const isText: Form<string> = value => typeof value === 'string'
/** Any number, NaN and infinities too. */
export const isNumber: Form<number> = value => typeof value === 'number'
export const isBoolean: Form<boolean> = value => typeof value === 'boolean'
/** A whole number from 0. */
export const isCount: Form<number> = (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0
/** An object that is no array. */
export const isRecord: Form<Record<string, unknown>> = (value): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Null, or of a form. */
export function orNull<T>(form: Form<T>): Form<T | null> {
  return (value): value is T | null => value === null || form(value)
}

/** A list of things of one form. */
export function listOf<T>(form: Form<T>): Form<T[]> {
  return (value): value is T[] => Array.isArray(value) && value.every(form)
}

/** An object of things of one form, under any names. */
export function recordOf<T>(form: Form<T>): Form<Record<string, T>> {
  return (value): value is Record<string, T> => isRecord(value) && Object.values(value).every(form)
}

/** An object with these fields; it may have others. */
export function withFields<T extends object>(forms: { readonly [K in keyof T]: Form<T[K]> }): Form<T> {
  const list = Object.entries(forms) as [string, Form<unknown>][]
  return (value): value is T => isRecord(value) && list.every(([name, form]) => form(value[name]))
}

/** Throws `STATE_DICT_MISMATCH` if `state` isn't of the form in which `owner` gives its state. */
export function checkForm<T>(owner: object, state: unknown, form: Form<T>): asserts state is T {
  if (form(state)) return
  const message = `the state doesn't fit this ${owner.constructor.name}: it is not of the form that stateDict() gives`
  throw new WickError('STATE_DICT_MISMATCH', message)
}
