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

/** The groups that a parameter is in, of one optimizer each. */
const groupsOf = new WeakMap<Tensor, Set<FlatGroup>>()

/** The groups of `param` whose optimizers are still there. */
function liveGroups(param: Tensor): Set<FlatGroup> {
  const groups = groupsOf.get(param) ?? new Set()
  for (const group of groups) if (!native.hasGroup(group.id)) groups.delete(group)
  return groups
}

/** Brings `params`, which have one dtype, together in a flat buffer with `slots` moment buffers beside it. */
export function newFlatGroup(params: readonly Tensor[], slots: number): FlatGroup {
  const handles = params.map(p => p.handle)
  const group: FlatGroup = { id: native.newGroup(handles, slots), params }
  for (const p of params) groupsOf.set(p, liveGroups(p).add(group))
  return group
}

/** Notes that a parameter gets other memory than its place in a flat buffer. */
export function leaveGroup(param: Tensor): void {
  const groups = groupsOf.get(param)
  if (groups === undefined) return
  native.leaveGroups(param.handle)
  for (const group of [...groups]) for (const p of group.params) groupsOf.get(p)?.delete(group)
}

/** The fewest groups whose parameters are all among `params`, none twice, and the parameters in none of them. */
export function wholeGroups(params: Iterable<Tensor>): { groups: number[]; rest: Tensor[] } {
  const left = new Set(params)
  const known = new Set<FlatGroup>()
  for (const p of left) for (const group of groupsOf.get(p) ?? []) known.add(group)
  const groups: number[] = []
  for (const { id, params: own } of [...known].sort((a, b) => b.params.length - a.params.length)) {
    if (!own.every(p => left.has(p)) || !native.hasGroup(id)) continue
    groups.push(id)
    for (const p of own) left.delete(p)
  }
  return { groups, rest: [...left] }
}

/** Clears the gradients of `params`. */
export function clearGradients(params: Iterable<Tensor>): void {
  const { groups, rest } = wholeGroups(params)
  for (const id of groups) native.zeroGrad(id)
  for (const p of rest) native.setGrad(p.handle, -1)
}
