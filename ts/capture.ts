/** Step windows: a function that runs every time in JavaScript while its work is replayed from a plan. */
import { changesSoFar } from './changes.ts'
import { badOption, checkOptions, WickError } from './errors.ts'
import {
  type Described,
  describe,
  isSameCall,
  type Rebuild,
  rebuilder,
  replay,
  type Stepped,
  watchSteps,
} from './full.ts'
import type { CaptureReport } from './native/addon.ts'
import { native } from './native/index.ts'
import { getDefaultDevice, scope, Tensor } from './tensor/index.ts'
import { setUnscoped, trackAll, unscoped } from './tensor/lifetime.ts'
import { handlesIn, isPromise, tensorsIn } from './tensor/tree.ts'

export type { CaptureReport }

/**
 * How a captured function runs: `'auto'` matches its ops against a plan, falling back to eager where they differ; `'full'`
 * also skips its body while a call differs from the last one that ran only in the contents of its tensors, for functions without
 * side effects; `'off'` is eager.
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
  /** What the last run of `fn` was called with, and what it gave. */
  let form: { call: Described; optimizers: Stepped; rebuild: Rebuild } | undefined

  // What `fn` sees besides its arguments is part of a call.
  const described = (args: Args): Described => describe([getDefaultDevice(), changesSoFar(), args])

  /** Runs some calls without `fn`; undefined if they need it. */
  const skip = (calls: readonly Described[]): { out: Out } | undefined => {
    if (!form || !calls.every(call => isSameCall(call, form!.call))) return undefined
    const { optimizers, rebuild } = form
    const handles = replay(
      site,
      optimizers,
      calls.flatMap(call => call.handles),
      calls.length,
    )
    if (!handles) return undefined
    const made = handles.map(handle => new Tensor(handle))
    return { out: rebuild(made, calls[calls.length - 1]!.tensors) as Out }
  }

  const execute = (args: Args, call: Described | undefined): Out => {
    if (!native.windowBegin(site, mode !== 'off', call?.handles)) return scope(() => fn(...args))
    const outermost = unscoped
    setUnscoped(false)
    const steps = call && watchSteps()
    form = undefined
    let out: Out
    try {
      out = fn(...args)
      if (isPromise(out)) {
        throw new WickError('NOT_SUPPORTED', 'its function must be synchronous, but it returned a promise', {
          op: 'capture',
        })
      }
    } catch (error) {
      native.windowEnd([], true)
      setUnscoped(outermost)
      throw error
    } finally {
      steps?.end()
    }
    const results = call ? [...new Set(tensorsIn(out))] : []
    native.windowEnd(call ? results.map(x => x.handle) : handlesIn(out), false)
    setUnscoped(outermost)
    if (outermost) trackAll(tensorsIn(out))
    const made = call && native.fullForm(site)
    if (call && steps && made) {
      const rebuild = rebuilder(out, results, made, call)
      if (rebuild) form = { call, optimizers: steps.stepped, rebuild }
    }
    return out
  }

  const run = (...args: Args): Out => {
    const call = mode === 'full' ? described(args) : undefined
    const skipped = call && skip([call])
    return skipped ? skipped.out : execute(args, call)
  }

  const many = (calls: readonly Args[]): Out => {
    if (calls.length === 0) throw badOption('capture', 'many() needs at least one call')
    // How many calls are tried at once: fewer after some that needed `fn`.
    let size = stepsPerCall
    const some = (at: number): { out: Out; next: number } => {
      if (form) {
        const all = calls.slice(at, at + Math.min(size, stepsPerCall)).map(described)
        for (let n = all.length; n >= 1; n >>= 1) {
          const skipped = skip(all.slice(0, n))
          if (skipped) {
            size = 2 * n
            return { out: skipped.out, next: at + n }
          }
        }
        size = 1
      }
      return { out: run(...calls[at]!), next: at + 1 }
    }
    let at = 0
    let last: Out
    do {
      // Results that aren't the last are of no use to anyone.
      last = scope(() => {
        const { out, next } = some(at)
        at = next
        return (at >= calls.length ? out : undefined) as Out
      })
    } while (at < calls.length)
    return last
  }

  const dispose = () => {
    if (owner) native.freeSite(site)
    owner = undefined
  }
  const report = (): CaptureReport => native.report(site)
  return Object.assign(run, { many, report, dispose, [Symbol.dispose]: dispose })
}
