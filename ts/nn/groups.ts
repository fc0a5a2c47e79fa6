/**
 * Which parameters lie together in one flat buffer. An optimizer brings its parameters together natively; clearing or clipping all
 * of a buffer's gradients is then one op instead of one a parameter.
 */
import { native } from '../native/index.ts'
import type { Tensor } from '../tensor/index.ts'

/** A flat buffer of parameters: the engine's number for it, and whose memory it is. */
export interface FlatGroup {
  readonly id: number
  readonly params: readonly Tensor[]
}

const groupOf = new WeakMap<Tensor, FlatGroup>()

/** Brings `params`, which have one dtype, together in a flat buffer with `slots` moment buffers beside it. */
export function newFlatGroup(params: readonly Tensor[], slots: number): FlatGroup {
  const handles = params.map(p => p.handle)
  const group: FlatGroup = { id: native.newGroup(handles, slots), params }
  for (const p of params) groupOf.set(p, group)
  return group
}

/** Notes that a parameter gets other memory than its place in a flat buffer. */
export function leaveGroup(param: Tensor): void {
  const group = groupOf.get(param)
  if (group === undefined) return
  native.leaveGroups(param.handle)
  for (const p of group.params) groupOf.delete(p)
}

/** The buffer that `param` is in, unless its optimizer is gone. */
function bufferOf(param: Tensor): FlatGroup | undefined {
  const group = groupOf.get(param)
  return group && native.hasGroup(group.id) ? group : undefined
}

/** The groups whose parameters are all among `params`, and the parameters in none of them. */
export function wholeGroups(params: Iterable<Tensor>): { groups: number[]; rest: Tensor[] } {
  const given = new Set(params)
  const whole = new Map<FlatGroup, boolean>()
  const rest: Tensor[] = []
  for (const p of given) {
    const group = bufferOf(p)
    if (group !== undefined && !whole.has(group))
      whole.set(
        group,
        group.params.every(q => given.has(q) && groupOf.get(q) === group),
      )
    if (group === undefined || !whole.get(group)) rest.push(p)
  }
  return { groups: [...whole].filter(([, all]) => all).map(([group]) => group.id), rest }
}

/** Clears the gradients of `params`. */
export function clearGradients(params: Iterable<Tensor>): void {
  const { groups, rest } = wholeGroups(params)
  for (const id of groups) native.zeroGrad(id)
  for (const p of rest) native.setGrad(p.handle, -1)
}
