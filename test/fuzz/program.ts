/**
 * Random step programs: lists of instructions, each of which takes part always, from some step on, at one step, now and then.
 * They cover branches that change, scalars and shapes that change, freezing, kept results and views, exceptions, reads in the
 * middle, writes in place, stale tensors and evaluation between steps.
 */
import type { Tensor } from '../../ts/index.ts'
import { crossEntropy, linear } from '../../ts/nn/functional.ts'
import { clipGradNorm_ } from '../../ts/nn/utils.ts'
import { instructions } from './instructions.ts'
import { bits, D, random, STEPS, type State } from './state.ts'

interface Instruction {
  name: string
  when: (t: number) => boolean
  run: (s: State) => void
}

/** When an instruction takes part. */
function schedule(r: () => number, wild: number): (t: number) => boolean {
  if (r() > wild) return () => true
  const at = 2 + Math.floor(r() * (STEPS - 3))
  const kind = Math.floor(r() * 6)
  const salt = Math.floor(r() * 1e6)
  const period = 2 + Math.floor(r() * 3)
  const forms: ((t: number) => boolean)[] = [
    t => t === at,
    t => t >= at,
    t => t < at,
    t => t % period === 0,
    t => t !== at,
    t => random(salt + t * 7919)() < 0.2,
  ]
  return forms[kind]!
}

export type Program = ReturnType<typeof program>
export function program(seed: number) {
  const r = random(seed)
  const int = (n: number) => Math.floor(r() * n)
  const wild = [0, 0.05, 0.15, 0.4][int(4)]!
  const rare = Math.max(wild, 0.5)
  const list: Instruction[] = []
  const errors = r() < 0.2
  const accumulation = r() < 0.25 ? 2 + int(2) : 1
  const settings = {
    shapeAt: r() < 0.3 ? int(STEPS) : -1,
    fixedBatch: r() < 0.2,
    lrAt: r() < 0.4 ? int(STEPS) : -1,
    adam: r() < 0.3,
  }
  const n = 5 + int(30)
  for (let i = 0; i < n; i++) {
    const [a, b, l, s1, s2, at, change] = [int(64), int(64), int(3), r() * 1.5 - 0.2, r() * 2, int(STEPS), int(4)]
    const table = instructions({ a, b, l, s1, s2, at, change, wild, rare, errors })
    const drawn = int(table.reduce((sum, [weight]) => sum + weight, 0))
    let below = 0
    for (const [weight, { name, wildness, run }] of table) {
      if (drawn >= below && drawn < below + weight) list.push({ name, when: schedule(r, wildness), run })
      below += weight
    }
  }
  const [head, clip, zeroFirst, entropy] = [int(3), r() < 0.5, r() < 0.5, r() < 0.6]
  const [zeroWhen, stepWhen] = [schedule(r, wild), schedule(r, wild)]
  const itemWhen = r() < 0.3 ? schedule(r, 0.5) : () => false
  const readWhen = r() < 0.15 ? schedule(r, 0.7) : () => false
  const [returns, readNorm] = [int(4), r() < 0.2]
  const rest = {
    two: r() < 0.2,
    evalEvery: r() < 0.3 ? 1 + int(6) : 0,
    evalWindow: r() < 0.5,
    outerTape: r() < 0.25,
    outerView: r() < 0.5,
    outerWhen: schedule(r, 0.5),
    outerBack: r() < 0.1,
  }

  const step =
    (s: State) =>
    (x: Tensor, y: Tensor): Tensor[] => {
      s.pool = [x]
      s.extra = []
      s.stop = false
      s.late = []
      if (zeroFirst && s.t % accumulation === 0 && zeroWhen(s.t)) {
        s.optimizer.zeroGrad()
        s.second?.zeroGrad()
      }
      for (const i of list) {
        if (i.when(s.t)) i.run(s)
        if (s.stop) break
      }
      const top = linear(s.pool.at(-1)!, s.layers[head]!.weight, s.layers[head]!.bias)
      if (s.stop) return [top.mean()]
      let loss = entropy ? crossEntropy(top, y) : top.mul(top).mean()
      for (const e of s.extra) loss = loss.add(e)
      s.loss = loss
      if (itemWhen(s.t)) s.log.push(`i${loss.itemSync()}`)
      loss.backward()
      for (const h of s.late) s.log.push(`l${bits(h)}`)
      if (readWhen(s.t)) s.log.push(`P${bits(s.layers[head]!.weight)}`)
      const out = [loss]
      if (s.t % accumulation === accumulation - 1 && stepWhen(s.t)) {
        if (clip) {
          const norm = clipGradNorm_(s.optimizer.paramGroups[0]!.params, 0.5)
          if (readNorm && norm.itemSync() > 3) s.log.push('norm')
          else if (returns === 1) out.push(norm)
        }
        s.optimizer.step()
        s.second?.step()
        if (!zeroFirst) {
          s.optimizer.zeroGrad()
          s.second?.zeroGrad()
        }
      }
      if (returns === 2) out.push(top)
      if (returns === 3) out.push(s.stat.reshape(D))
      return out
    }
  return { seed, names: list.map(i => i.name), step, width: D, ...settings, ...rest }
}
