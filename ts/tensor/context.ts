/**
 * Regions and async contexts: the scope, the step window and the modes (gradients, autocast) that a task works under.
 *
 * A region that ends before it waits is a part of its caller's context. One whose function gives a promise becomes a context
 * of its own in the engine, until that settles. Only while some region waits, other code may run in between, so only then
 * native calls look whose context they belong to.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { MaybePromise } from '../data/reader.ts'
import type { NativeAddon } from '../native/addon.ts'
import { native, useNative } from '../native/index.ts'
import { setUnscoped, trackAll } from './lifetime.ts'
import { handlesIn, isPromise, tensorsIn } from './tree.ts'

/** Contexts of regions that don't wait: not yet, or no more. The engine's own numbers are above. */
const none = 0
const ended = -1

/** Where code runs. */
class Region {
  context = none
  readonly parent: Region | undefined

  constructor(around: Region | undefined) {
    let parent = around
    // What has ended is of no use to anyone, however long a chain of them gets.
    while (parent?.context === ended) parent = parent.parent
    this.parent = parent
  }
}

const tasks = new AsyncLocalStorage<Region>()
/** The region whose context the engine is in. */
let entered: Region | undefined
let waiting = 0

/** The next region from `region` on that has a context of its own. */
function contextOf(region: Region | undefined): Region | undefined {
  let at = region
  while (at !== undefined && at.context <= none) at = at.parent
  return at
}

function enter(region: Region | undefined): void {
  if (region === entered) return
  entered = region
  setUnscoped(addon.enterContext(region ? region.context : 0))
}

/** The addon itself. */
const addon = native

/** Functions that look at no context: handles mean the same in all of them. */
const everywhere = new Set<string>([
  'dispose',
  'release',
  'isLive',
  'keep',
  'memory',
  'own',
  'ownSite',
  'newSite',
  'report',
  'enterContext',
] satisfies (keyof NativeAddon)[])

/** The addon's functions, each entering the context of who calls it. */
const checked = Object.fromEntries(
  Object.entries(addon).map(([name, call]: [string, (...args: unknown[]) => unknown]) => [
    name,
    everywhere.has(name)
      ? call
      : (...args: unknown[]) => {
          enter(contextOf(tasks.getStore()))
          return call(...args)
        },
  ]),
) as unknown as NativeAddon

/** What a region changes. */
export interface RegionOptions {
  /** Whether what is made inside and not returned is freed at the end. */
  scoped?: boolean
  /** Whether gradients are recorded. Default: as around. */
  grad?: boolean | undefined
  /** The code of autocast's low dtype, -1 for none. Default: as around. */
  autocast?: number
}

/** Runs `fn` under `options` until it returns or, if it gives a promise, until that settles. */
export function region<T>(options: RegionOptions, fn: () => MaybePromise<T>): MaybePromise<T> {
  const { scoped = false, grad, autocast = -2 } = options
  native.regionBegin(scoped, grad === undefined ? -1 : Number(grad), autocast)
  if (scoped) setUnscoped(false)
  const here = new Region(tasks.getStore())
  let result: MaybePromise<T>
  try {
    result = tasks.run(here, fn)
  } catch (error) {
    end(here, undefined)
    throw error
  }
  if (!isPromise(result)) {
    end(here, result)
    return result
  }
  enter(contextOf(here))
  here.context = addon.regionSuspend()
  entered = here
  if (waiting++ === 0) useNative(checked)
  return Promise.resolve(result).then(
    out => {
      end(here, out)
      return out
    },
    error => {
      end(here, undefined)
      throw error
    },
  )
}

function end(here: Region, out: unknown): void {
  enter(contextOf(here))
  const waited = here.context !== none
  try {
    const free = addon.regionEnd(handlesIn(out))
    setUnscoped(free)
    if (free) trackAll(tensorsIn(out))
  } finally {
    here.context = ended
    if (waited) {
      entered = undefined
      setUnscoped(addon.enterContext(0))
      if (--waiting === 0) useNative(addon)
    }
  }
}
