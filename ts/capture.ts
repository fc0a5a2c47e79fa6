/** Step windows: a function that runs every time in JavaScript while its work is replayed from a plan. */
import { badOption, checkOptions, WickError } from './errors.ts'
import type { CaptureReport } from './native/addon.ts'
import { native } from './native/index.ts'
import { scope, Tensor } from './tensor/index.ts'
import { setUnscoped, trackAll, unscoped } from './tensor/lifetime.ts'
import { handlesIn, isPromise, mapTensors, tensorsIn } from './tensor/tree.ts'

export type { CaptureReport }

/**
 * How a captured function runs: `'auto'` matches its ops against a plan, falling back to eager where they differ; `'full'`
 * also skips its body once a plan is there, for functions without side effects; `'off'` is eager.
 */
export type CaptureMode = 'auto' | 'full' | 'off'

/** Options of `capture`. */
export interface CaptureOptions {
  /** Default `'auto'`. */
  mode?: CaptureMode
  /** In mode `'full'`, how many steps of `many` one native call runs. Default: all of them. */
  stepsPerCall?: number
}

/** A captured function. */
export interface Captured<Args extends readonly unknown[], Out> {
  (...args: Args): Out
  /** Calls the function for each list of arguments, in order, and gives the last result; in mode `'full'` in few native calls. */
  many(calls: readonly Args[]): Out
  /** How the calls ran. */
  report(): CaptureReport
  /** Gives up the plans and the memory that they hold; later calls are `DISPOSED` errors. Garbage collection does it too. */
  dispose(): void
  /** As `dispose`: for `using`. */
  [Symbol.dispose](): void
}

/**
 * Makes a step window of `fn`: its first two calls run eagerly and are recorded; where they agree, later calls only match
 * their ops against the plan, which then runs as a whole. Results and side effects are those of eager mode. Arguments and
 * results may be trees of tensors; tensors made inside and not returned are freed; what is returned carries no history for
 * gradients. `fn` must be synchronous. Inside another window it is a scope.
 *
 * ```ts
 * const step = capture((x: Tensor, y: Tensor) => {
 *   optimizer.zeroGrad()
 *   const loss = criterion.forward(model.forward(x), y)
 *   loss.backward()
 *   optimizer.step()
 *   return loss
 * })
 * ```
 */
export function capture<Args extends readonly unknown[], Out>(
  fn: (...args: Args) => Out,
  options: CaptureOptions = {},
): Captured<Args, Out> {
  checkOptions('capture', options, ['mode', 'stepsPerCall'])
  const { mode = 'auto', stepsPerCall = Number.POSITIVE_INFINITY } = options
  if (mode !== 'auto' && mode !== 'full' && mode !== 'off') {
    throw badOption('capture', `mode must be 'auto', 'full' or 'off', not '${String(mode)}'`)
  }
  if (!(stepsPerCall >= 1)) throw badOption('capture', `stepsPerCall must be at least 1, not ${stepsPerCall}`)
  const site = native.newSite(fn.name || 'capture')
  // Frees the site when it is collected.
  let owner: object | undefined = native.ownSite(site)
  let form: { last: Out } | undefined

  const rebuilt = ({ last }: { last: Out }, handles: readonly number[]): Out => {
    let next = 0
    return mapTensors(last, () => new Tensor(handles[next++]!)) as Out
  }

  const run = (...args: Args): Out => {
    const given = handlesIn(args)
    if (mode === 'full' && form) {
      const out = native.fullSteps(site, given, 1)
      if (out) return rebuilt(form, out)
    }
    if (!native.windowBegin(site, mode !== 'off', given)) return scope(() => fn(...args))
    const outermost = unscoped
    setUnscoped(false)
    let out: Out
    try {
      out = fn(...args)
      if (isPromise(out)) {
        throw new WickError('NOT_SUPPORTED', 'its function must be synchronous, but it returned a promise', {
          op: 'capture',
        })
      }
    } catch (error) {
      setUnscoped(outermost)
      native.windowEnd([], true)
      throw error
    }
    setUnscoped(outermost)
    native.windowEnd(handlesIn(out), false)
    if (outermost) trackAll(tensorsIn(out))
    if (mode === 'full') form = { last: out }
    return out
  }

  const many = (calls: readonly Args[]): Out => {
    if (calls.length === 0) throw badOption('capture', 'many() needs at least one call')
    let out: { last: Out } | undefined
    for (let at = 0; at < calls.length; ) {
      // A result that isn't the last is of no use to anyone.
      if (out) for (const x of tensorsIn(out.last)) x.dispose()
      const steps = mode === 'full' && form ? Math.min(stepsPerCall, calls.length - at) : 1
      const handles = steps > 1 && form ? native.fullSteps(site, handlesIn(calls.slice(at, at + steps)), steps) : null
      if (handles && form) {
        out = { last: rebuilt(form, handles) }
        at += steps
      } else {
        out = { last: run(...calls[at]!) }
        at += 1
      }
    }
    return out!.last
  }

  const dispose = () => {
    if (owner) native.freeSite(site)
    owner = undefined
  }
  const report = (): CaptureReport => native.report(site)
  return Object.assign(run, { many, report, dispose, [Symbol.dispose]: dispose })
}
