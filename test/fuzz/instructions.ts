/** What a step of a random program may do: the things that users do. */
import { type Tensor, tensor } from '../../ts/index.ts'
import { batchNorm, dropout, linear } from '../../ts/nn/functional.ts'
import { cat, noGrad, scope, where } from '../../ts/tensor/index.ts'
import { bits, D, type State, tried } from './state.ts'

/** The random choices of one instruction. */
export interface Choices {
  /** Which tensors of the pool, and which layer. */
  a: number
  b: number
  l: number
  /** Scalars, the step at which something changes, and in which way. */
  s1: number
  s2: number
  at: number
  change: number
  /** How likely an instruction takes part in some steps only. */
  wild: number
  rare: number
  /** The program may provoke errors. */
  errors: boolean
}
interface Draft {
  name: string
  wildness: number
  run: (s: State) => void
}
const pick = (s: State, i: number) => s.pool[i % s.pool.length]!

/** Every instruction with its weight. */
export function instructions({ a, b, l, s1, s2, at, change, wild, rare, errors }: Choices): [number, Draft][] {
  const add = (name: string, run: (s: State) => void, wildness = wild): Draft => ({ name, wildness, run })
  const scalar = (t: number) => (change === 0 && t >= at ? s2 : change === 1 ? s1 + t * 0.01 : s1)
  const layer = (s: State, x: Tensor) => linear(x, s.layers[l]!.weight, s.layers[l]!.bias)
  return [
    [
      4,
      add('linear+relu', s => {
        const h = layer(s, pick(s, a))
        s.pool.push(h, h.relu())
      }),
    ],
    [
      2,
      add('scoped linear+relu', s => {
        s.pool.push(scope(() => layer(s, pick(s, a)).relu()))
      }),
    ],
    [
      1,
      add('matmul', s => {
        s.pool.push(pick(s, a).matmul(s.weight))
      }),
    ],
    [
      1,
      add('matmul transposed', s => {
        s.pool.push(pick(s, a).matmul(s.weight.t()))
      }),
    ],
    [
      1,
      add('add', s => {
        s.pool.push(pick(s, a).add(pick(s, b)))
      }),
    ],
    [
      1,
      add('mul', s => {
        s.pool.push(pick(s, a).mul(pick(s, b)))
      }),
    ],
    [
      2,
      add('scale', s => {
        s.pool.push(pick(s, a).mul(scalar(s.t)))
      }),
    ],
    [
      1,
      add('power', s => {
        s.pool.push(pick(s, a).pow(change === 0 && s.t >= at ? 3 : 2))
      }),
    ],
    [
      2,
      add('chain', s => {
        s.pool.push(pick(s, a).mul(0.5).tanh().add(scalar(s.t)).sigmoid().sub(pick(s, b)))
      }),
    ],
    [
      1,
      add('where', s => {
        const x = pick(s, a)
        s.pool.push(where(x.gt(scalar(s.t) * 0.1), x, pick(s, b)))
      }),
    ],
    [
      1,
      add('softmax', s => {
        s.pool.push(pick(s, a).softmax(-1))
      }),
    ],
    [
      1,
      add('row', s => {
        s.pool.push(pick(s, a).add(s.vectors[0]!).exp().clamp({ max: 2 }))
      }),
    ],
    [
      1,
      add('mean and back', s => {
        const x = pick(s, a)
        s.pool.push(x.sub(x.mean({ dim: 1, keepdim: true })))
      }),
    ],
    [
      1,
      add('narrow and cat', s => {
        const x = pick(s, a)
        s.pool.push(cat([x.narrow(1, 3, 3), x.narrow(1, 0, 3)], 1))
      }),
    ],
    [
      1,
      add('transpose twice', s => {
        s.pool.push(pick(s, a).t().mul(1.1).t())
      }),
    ],
    [
      1,
      add('double', s => {
        s.pool.push(pick(s, a).to({ dtype: 'float64' }).mul(0.3).to({ dtype: 'float32' }))
      }),
    ],
    [
      1,
      add('reshape', s => {
        const v = pick(s, a).reshape(s.size * D)
        s.pool.push(v.mul(0.5).reshape(s.size, D), v.reshape(s.size, D))
      }),
    ],
    [
      2,
      add('dropout', s => {
        s.pool.push(dropout(pick(s, a), { p: change === 0 && s.t >= at ? 0.5 : 0.2 }))
      }),
    ],
    [
      1,
      add('batch norm', s => {
        s.pool.push(batchNorm(pick(s, a), s.running[0]!, s.running[1]!, { training: true }))
      }),
    ],
    [
      1,
      add('max', s => {
        const [v, at] = pick(s, a).max({ dim: 1, keepdim: true })
        s.pool.push(pick(s, b).sub(v))
        s.extra.push(at.float().mean().mul(0.1))
      }),
    ],
    [
      1,
      add('stat update', s =>
        noGrad(() => {
          s.stat.mul_(0.9)
          s.stat.add_(pick(s, a).detach().sum({ dim: 0 }).mul(0.1))
        }),
      ),
    ],
    [
      1,
      add('stat use', s => {
        const c = errors ? s.stat : s.stat.mul(1)
        s.extra.push(c.mul(c).mul(0.01).sum())
      }),
    ],
    [
      1,
      add('stat copy', s =>
        noGrad(() => {
          s.stat.copy_(pick(s, a).detach().sum({ dim: 0 }).mul(0.01))
        }),
      ),
    ],
    [
      1,
      add(
        'read value',
        s => {
          s.log.push(`v${bits(pick(s, a))}`)
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'read stat',
        s => {
          s.log.push(`s${bits(s.stat)}`)
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'read parameter',
        s => {
          s.log.push(`p${bits(s.layers[l]!.weight)}`)
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'keep',
        s => {
          s.kept.push(pick(s, a).mul(1).keep())
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'keep views',
        s => {
          const h = pick(s, a).mul(1).detach()
          s.kept.push(h.keep(), h.reshape(s.size * D).keep())
        },
        rare,
      ),
    ],
    [
      1,
      add('mask from outside', s => {
        s.pool.push(pick(s, a).mul(s.masks[change === 0 ? (s.t >= at ? 1 : 0) : change === 1 ? s.t % 3 : 0]!))
      }),
    ],
    [
      1,
      add(
        'freeze',
        s => {
          s.layers[l]!.weight.requiresGrad_(change === 0 ? s.t < at : s.t % 5 !== 0)
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'freeze inside',
        s => {
          const w = s.layers[l]!.weight
          w.requiresGrad_(false)
          s.pool.push(layer(s, pick(s, a)))
          w.requiresGrad_(true)
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'throw',
        () => {
          throw new Error('user')
        },
        1,
      ),
    ],
    [
      1,
      add('previous', s => {
        if (s.previous?.shape[0] === s.size) s.pool.push(pick(s, a).mul(s.previous))
      }),
    ],
    [
      1,
      add('host data', s => {
        const d = Float32Array.from({ length: s.size * D }, (_, i) => Math.sin(i + s.t))
        const x = tensor(d).reshape(s.size, D)
        d.fill(99)
        s.pool.push(pick(s, a).add(x), x)
      }),
    ],
    [
      1,
      add('alias write', s => {
        const c = errors ? pick(s, a) : pick(s, a).mul(1)
        noGrad(() => {
          const d = c.detach()
          d.mul_(1.1)
          s.pool.push(d)
        })
      }),
    ],
    [
      1,
      add(
        'tracked write',
        s => {
          tried(s, () => {
            const c = pick(s, a).mul(1)
            c.mul_(1.5)
            c.add_(pick(s, b))
            s.pool.push(c)
          })
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'nested',
        s => {
          s.pool.push(s.inner!(pick(s, a)))
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'stale',
        s => {
          tried(s, () => {
            if (s.stale) s.pool.push(s.stale.mul(2))
          })
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'backward twice',
        s => {
          tried(s, () => pick(s, a).mean().backward())
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'grad in window',
        s => {
          const g = s.layers[l]!.weight.grad
          s.log.push(g ? 'g' : 'null')
          if (g && change === 0) s.log.push(bits(g))
          else if (g && change === 1) noGrad(() => g.mul_(0.5))
          else if (g) s.extra.push(g.mul(g).sum().detach())
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'kept in window',
        s => {
          const q = s.kept[0]
          if (q && q.shape.length === 2 && q.shape[0] === s.size) {
            if (change === 0) noGrad(() => q.mul_(0.7))
            else if (change === 1) s.log.push(`k${bits(q)}`)
            else s.pool.push(pick(s, a).add(q))
          }
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'shape error',
        s => {
          tried(s, () => {
            s.pool.push(pick(s, a).matmul(s.targets[0]!))
          })
        },
        rare,
      ),
    ],
    [
      1,
      add('dispose', s => {
        const q = s.pool.length > 3 ? s.pool.pop()! : null
        if (q && !s.batches.includes(q)) tried(s, () => q.dispose())
      }),
    ],
    [
      1,
      add(
        'keep bare',
        s => {
          const q = pick(s, a)
          if (!s.batches.includes(q) && !s.kept.includes(q) && q !== s.previous) s.kept.push(q.keep())
        },
        1,
      ),
    ],
    [
      1,
      add('vector', s => {
        s.extra.push(
          ((change === 0 && s.t >= at) || (change === 1 && s.t === at) ? s.stat : s.vectors[s.t % 3]!).mul(0.02).sum(),
        )
      }),
    ],
    [
      1,
      add('maybe noGrad', s => {
        const f = () => {
          s.pool.push(layer(s, pick(s, a)))
        }
        if (change === 0 ? s.t === at : change === 1 && s.t >= at) noGrad(f)
        else f()
      }),
    ],
    [
      1,
      add('maybe alive', s => {
        const h = layer(s, pick(s, a))
        const q = h.relu()
        s.pool.push(q)
        if (change < 2 ? s.t >= at : s.t % 4 === 0) s.late.push(h)
        else h.dispose()
        if (s.t > 0 && change !== 1) s.log.push(`v${bits(q)}`)
      }),
    ],
    [
      1,
      add('linear, write, relu', s => {
        const h = layer(s, pick(s, a))
        noGrad(() => {
          s.layers[l]!.bias.mul_(0.99)
        })
        s.pool.push(h.relu())
      }),
    ],
    [
      1,
      add(
        'save, write, read',
        s => {
          const c = pick(s, a).mul(s.stat)
          noGrad(() => {
            s.stat.mul_(0.99)
          })
          s.pool.push(c)
          s.log.push(`v${bits(c)}`)
          if (change === 0 ? s.t !== at : s.t % 5 > 0) s.stop = true
        },
        0,
      ),
    ],
    [
      1,
      add('outer', s => {
        if (s.outer) s.extra.push(s.outer.mul(0.1).sum())
      }),
    ],
    [
      1,
      add(
        'write batch',
        s => {
          if (errors)
            noGrad(() => {
              s.pool[0]!.mul_(0.99)
            })
        },
        rare,
      ),
    ],
    [
      1,
      add(
        'early return',
        s => {
          s.stop = true
        },
        1,
      ),
    ],
  ]
}
