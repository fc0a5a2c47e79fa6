/** What a step of a random network may do with weights, errors, random numbers and memory, as users write it. */
import { readFileSync } from 'node:fs'
import { autocast, type nn, type optim, type Tensor, tensor } from '../../ts/index.ts'
import {
  adaptiveAvgPool2d,
  batchNorm,
  conv2d,
  crossEntropy,
  dropout,
  embedding,
  layerNorm,
  linear,
  mseLoss,
  scaledDotProductAttention,
} from '../../ts/nn/functional.ts'
import {
  bernoulli,
  cat,
  type Generator,
  grad,
  manualSeed,
  noGrad,
  randn,
  saveSafetensors,
  scope,
  stack,
} from '../../ts/tensor/index.ts'
import type { Choices, Kind, Trace } from './shared.ts'

/** Width of every activation, steps of a run. */
export const D = 8
export const STEPS = 16

type Name = 'a' | 'b' | 'square' | 'flat' | 'tall' | 'vector' | 'bias' | 'table' | 'image' | 'filter' | 'cube' | 'one'

/** What a run of a network owns. */
export interface Network {
  t: number
  trace: Trace
  /** Rows of a batch. */
  size: number
  /** The step's input [size, D] and labels [size], and labels of which one is out of range. */
  x: Tensor
  labels: Tensor
  wrong: Tensor
  /** Activations [size, D]. */
  pool: Tensor[]
  losses: Tensor[]
  weights: Record<Name, nn.Parameter>
  /** Other leaves on the memory of `square` and `vector`; in no optimizer. */
  twins: { square: nn.Parameter; vector: nn.Parameter }
  /** Doesn't require gradients. */
  frozen: nn.Parameter
  /** A leaf of no optimizer. */
  loose: nn.Parameter
  critic: nn.Parameter
  criticOptimizer: optim.SGD | optim.AdamW
  /** A later optimizer of weights that have one. */
  rival: optim.SGD | null
  average: Tensor
  statistic: Tensor
  running: [Tensor, Tensor]
  counts: Tensor
  replay: Tensor
  /** Whole numbers: places in `flat`, a mask of it, rows. */
  places: Tensor
  mask: Tensor
  rows: Tensor
  zeros: Tensor
  generator: Generator
  kept: Tensor[]
  grads: Tensor[]
  /** A file of this run. */
  file: string
}
type Instruction = Kind<Network>

const pick = (s: Network, i: number) => s.pool[i % s.pool.length]!
const matrix = (c: Choices) => {
  const which = c.one(['a', 'square', 'b'] as const)
  return (s: Network): Tensor => s.weights[which]
}

/** An instruction that adds an activation made of one that is there. */
const layer = (
  make: (c: Choices) => (h: Tensor, s: Network) => Tensor,
  options: Omit<Instruction, 'make'> = {},
): Instruction => ({
  pure: true,
  ...options,
  make: c => {
    const [at, f] = [c.int(64), make(c)]
    return s => void s.pool.push(f(pick(s, at), s))
  },
})
/** An instruction that adds a scalar to the loss. */
const loss = (
  make: (c: Choices) => (h: Tensor, s: Network) => Tensor,
  options: Omit<Instruction, 'make'> = {},
): Instruction => ({
  pure: true,
  ...options,
  make: c => {
    const [at, f] = [c.int(64), make(c)]
    return s => void s.losses.push(f(pick(s, at), s))
  },
})
/** An instruction that does something with an activation. */
const effect = (
  make: (c: Choices) => (h: Tensor, s: Network) => void,
  options: Omit<Instruction, 'make'> = {},
): Instruction => ({
  ...options,
  make: c => {
    const [at, f] = [c.int(64), make(c)]
    return s => f(pick(s, at), s)
  },
})

/** Attention of one sequence, by hand: the heads are views of the weight or of what it gives. */
const attention = (c: Choices) => {
  const [heads, w, viewed, causal] = [c.one([1, 2, 4]), matrix(c), c.chance(0.5), c.chance(0.5)]
  const d = D / heads
  return (h: Tensor, s: Network): Tensor => {
    const split = (x: Tensor) =>
      viewed ? x.matmul(w(s).reshape(heads, D, d)) : x.matmul(w(s)).reshape(s.size, heads, d).permute(1, 0, 2)
    const [q, k, v] = [split(h), split(h.mul(0.5)), split(h.tanh())]
    let scores = q.matmul(k.transpose(1, 2)).mul(1 / Math.sqrt(d))
    if (causal) scores = scores.add(scores.detach().mul(0).add(-3).triu(1))
    return scores.softmax(-1).matmul(v).permute(1, 0, 2).reshape(s.size, D)
  }
}

/** `n` steps of a recurrent cell whose bias is used in each. */
const recurrent = (c: Choices) => {
  const [n, w, changes, gated] = [2 + c.int(10), matrix(c), c.chance(0.3), c.chance(0.3)]
  return (x: Tensor, s: Network): Tensor => {
    let h = x
    const length = changes ? 2 + ((n + s.t) % 5) : n
    for (let i = 0; i < length; i++) {
      const next = linear(h, w(s), s.weights.bias).add(x).tanh()
      h = gated ? h.lerp(next, s.weights.vector.sigmoid()) : next
    }
    return h
  }
}

const low = (c: Choices) => ({ dtype: c.one(['bfloat16', 'float16'] as const) })
const float = (x: Tensor) => x.to({ dtype: 'float32' })

/** A critic's training inside the step; gives its opinion of `h` after the update. */
const critic = (s: Network, h: Tensor): Tensor => {
  const score = (x: Tensor) => x.matmul(s.critic).mean()
  s.criticOptimizer.zeroGrad()
  score(h.detach()).sub(score(s.x)).add(s.critic.square().sum().mul(0.1)).backward()
  s.criticOptimizer.step()
  return score(h)
}

const at = (c: Choices) => {
  const [step, kind] = [2 + c.int(STEPS - 3), c.int(3)]
  return (t: number) => (kind === 0 ? t === step : kind === 1 ? t % 4 === 3 : t >= step)
}

/** The instructions of networks, by name. */
export const instructions: Record<string, Instruction> = {
  // Plain ones
  'linear, relu': layer(
    c => {
      const w = matrix(c)
      return (h, s) => linear(h, w(s), s.weights.bias).relu()
    },
    { weight: 3 },
  ),
  add: layer(c => {
    const other = c.int(64)
    return (h, s) => h.add(pick(s, other))
  }),
  'scale, tanh': layer(c => {
    const k = c.number(-1, 1.5)
    return h => h.mul(k).tanh()
  }),
  'layer norm': layer(() => (h, s) => layerNorm(h, [D], { weight: s.weights.vector, bias: s.weights.bias })),
  'batch norm': layer(() => (h, s) => batchNorm(h, s.running[0], s.running[1], { training: true })),
  convolution: layer(
    () => (h, s) =>
      conv2d(h.reshape(s.size, 1, 2, 4), s.weights.filter, null, { padding: 1 })
        .narrow(2, 0, 2)
        .narrow(3, 0, 4)
        .sum({ dim: 1 })
        .reshape(s.size, D),
  ),

  // Weights through views
  'heads of a weight': layer(c => {
    const [heads, w] = [c.one([2, 4]), matrix(c)]
    return (h, s) =>
      h
        .matmul(w(s).reshape(heads, D, D / heads))
        .permute(1, 0, 2)
        .reshape(s.size, D)
  }),
  'flat weight': layer(c => {
    const [linearly, k] = [c.chance(0.5), c.number(0.2, 1)]
    return (h, s) => {
      const w = s.weights.flat.reshape(D, D)
      return linearly ? linear(h, w).mul(k) : h.matmul(w)
    }
  }),
  'tall weight': layer(c => {
    const transposed = c.chance(0.5)
    return (h, s) => {
      const w = s.weights.tall.reshape(D, D)
      return h.matmul(transposed ? w.t() : w)
    }
  }),
  'permuted cube': layer(c => {
    const order = c.one([
      [1, 0, 2],
      [2, 0, 1],
      [0, 2, 1],
      [2, 1, 0],
    ])
    return (h, s) => h.matmul(s.weights.cube.permute(order).reshape(D, D))
  }),
  'weight slice': layer(c => {
    const [from, row] = [c.int(4), c.chance(0.5)]
    return (h, s) => {
      const w = s.weights.square
      if (row) return h.narrow(1, 0, 4).matmul(w.narrow(0, from, 4))
      const half = h.matmul(w.narrow(1, from, 4))
      return cat([half, half], 1)
    }
  }),
  'weight transposed': layer(c => {
    const w = matrix(c)
    return (h, s) => h.matmul(w(s).t())
  }),
  'row of a weight': layer(c => {
    const [dim, i] = [c.int(2), c.int(D)]
    return (h, s) => h.mul(s.weights.square.select(dim, i))
  }),
  'part of a flat weight': layer(c => {
    const from = c.int(D * (D - 1))
    return (h, s) => h.add(s.weights.flat.narrow(0, from, D))
  }),
  'scalar weight': layer(c => {
    const form = c.int(3)
    return (h, s) => h.mul(form === 0 ? s.weights.one : form === 1 ? s.weights.one.reshape() : s.weights.one.expand(D))
  }),
  'weight expanded': layer(() => (h, s) => h.mul(s.weights.vector.unsqueeze(0).expand(s.size, D))),
  'mean of a view': loss(c => {
    const [k, dim] = [c.one([2, 4, 8]), c.int(2)]
    return (_, s) =>
      s.weights.square
        .reshape(k, (D * D) / k)
        .mean({ dim })
        .square()
        .sum()
  }),
  'sum of a view': loss(c => {
    const k = c.one([2, 4])
    return (_, s) =>
      s.weights.flat
        .reshape(k, (D * D) / k)
        .sum({ dim: 1 })
        .square()
        .mean()
  }),
  'view of a view': layer(
    () => (h, s) =>
      h.matmul(
        s.weights.square
          .t()
          .reshape(D * D)
          .reshape(D, D),
      ),
  ),
  'vector through matmul': layer(c => {
    const form = c.int(3)
    return (h, s) => {
      const v = s.weights.vector
      if (form === 0) return h.add(v.matmul(s.weights.square))
      if (form === 1) return h.mul(h.matmul(v).unsqueeze(1))
      return h.add(linear(v, s.weights.square, s.weights.bias))
    }
  }),
  'dot of vectors': loss(() => (_, s) => s.weights.vector.dot(s.weights.bias).mul(0.1)),
  'row through linear': layer(() => (h, s) => h.add(linear(h.select(0, 0), s.weights.square, s.weights.bias))),
  'take of a weight': layer(() => (h, s) => h.mul(s.weights.flat.take(s.places))),
  'mask of a weight': loss(() => (_, s) => s.weights.flat.maskedSelect(s.mask).square().sum(), { pure: false }),
  'rows of a weight': layer(() => (h, s) => h.add(s.weights.square.indexSelect(0, s.labels))),
  'columns of a weight': layer(() => (h, s) => h.matmul(s.weights.square.indexSelect(1, s.rows))),
  'gather of a weight': layer(
    () => (h, s) => h.add(s.weights.square.gather(0, s.rows.unsqueeze(0).expand(2, D)).narrow(0, 0, 1)),
  ),
  'index of a weight': layer(c => {
    const i = c.int(D)
    return (h, s) => h.add(s.weights.square.index(i))
  }),
  'weight flipped': layer(() => (h, s) => h.matmul(s.weights.square.flip(0))),
  'weights stacked': layer(() => (h, s) => h.matmul(stack([s.weights.a, s.weights.b]).mean({ dim: 0 }))),
  'weights joined': layer(
    () => (h, s) => linear(h, cat([s.weights.tall.reshape(D, D), s.weights.a], 1).narrow(1, 4, D)),
  ),
  embedding: layer(() => (h, s) => h.add(embedding(s.labels, s.weights.table))),
  'embedding, tied': layer(
    () => (h, s) => h.add(embedding(s.labels, s.weights.table)).matmul(s.weights.table.t()).matmul(s.weights.table),
  ),
  'flat embedding': layer(() => (h, s) => h.add(embedding(s.labels, s.weights.flat.reshape(D, D)))),
  'pool of a weight': loss(c => {
    const k = c.one([1, 2, 4])
    return (_, s) => adaptiveAvgPool2d(s.weights.image, k).square().sum()
  }),
  'same size, other shape': layer(
    () => (h, s) => h.matmul(s.weights.image.reshape(D, 4)).matmul(s.weights.tall.narrow(1, 0, D)),
  ),

  // Shared and tied weights
  'tied weight': layer(
    c => {
      const [when, linearly] = [c.schedule(1, STEPS), c.chance(0.5)]
      return (h, s) => {
        const w = when(s.t) ? s.twins.square : s.weights.square
        return linearly ? linear(h, w) : h.matmul(w)
      }
    },
    { pure: false },
  ),
  'tied vector': layer(
    c => {
      const when = c.schedule(1, STEPS)
      return (h, s) => h.mul(when(s.t) ? s.twins.vector : s.weights.vector)
    },
    { pure: false },
  ),
  'both leaves of a memory': layer(() => (h, s) => h.matmul(s.weights.square).add(h.matmul(s.twins.square))),
  'frozen weight': layer(() => (h, s) => linear(h, s.frozen, s.weights.bias)),
  'frozen now and then': layer(
    c => {
      const [w, when] = [matrix(c), c.schedule(1, STEPS)]
      return (h, s) => {
        w(s).requiresGrad_(when(s.t))
        return linear(h, w(s))
      }
    },
    { pure: false },
  ),
  'frozen here': layer(
    c => {
      const w = matrix(c)
      return (h, s) => {
        w(s).requiresGrad_(false)
        const out = linear(h, w(s))
        w(s).requiresGrad_(true)
        return out
      }
    },
    { pure: false },
  ),

  // Weights written in place
  'weight norm': effect(
    c => {
      const [w, rows] = [matrix(c), c.chance(0.5)]
      return (_, s) =>
        noGrad(() => {
          const x = w(s)
          x.copy_(x.div(rows ? x.norm({ dim: 1, keepdim: true }).add(0.1) : x.norm().add(0.1)))
        })
    },
    { pure: true },
  ),
  'weight clip': effect(
    c => {
      const w = matrix(c)
      return (_, s) => noGrad(() => void w(s).clamp_(-0.5, 0.5))
    },
    { pure: true },
  ),
  'moving average': effect(
    c => {
      const [form, w] = [c.int(3), matrix(c)]
      return (_, s) =>
        noGrad(() => {
          if (form === 0) s.average.mul_(0.9).add_(w(s), { alpha: 0.1 })
          else if (form === 1) s.average.lerp_(w(s).detach(), 0.1)
          else s.average.copy_(s.average.mul(0.9).add(w(s).mul(0.1)))
        })
    },
    { pure: true },
  ),
  'average used': layer(() => (h, s) => h.add(linear(h, s.average).detach())),
  'a write through a view': effect(
    c => {
      const [i, k] = [c.int(D), c.number(0.8, 1)]
      return (_, s) =>
        noGrad(() => {
          s.average.select(0, i).mul_(k)
          s.weights.flat.detach().reshape(D, D).select(1, i).mul_(k)
        })
    },
    { pure: true },
  ),
  'statistic updated': effect(
    () => (h, s) => noGrad(() => void s.statistic.mul_(0.9).add_(h.detach().mean({ dim: 0 }).mul(0.1))),
    { pure: true },
  ),
  'statistic used': layer(() => (h, s) => h.sub(s.statistic.mul(1))),
  'critic updated': loss(() => (h, s) => critic(s, h).mul(0.1)),
  'inner update of the weights': effect(
    c => {
      const k = c.number(0.01, 0.1)
      return (_, s) => {
        const w = s.loose
        const [g] = grad(s.x.matmul(w).square().mean(), [w])
        noGrad(() => void w.sub_(g!, { alpha: k }))
      }
    },
    { pure: true },
  ),
  'loose leaf': loss(() => (h, s) => h.matmul(s.loose).mean()),

  // Unrolled cells, attention
  'recurrent cell': layer(recurrent, { weight: 2, pure: false }),
  'attention by hand': layer(attention, { weight: 3 }),
  attention: layer(() => (h, s) => {
    const x = h.matmul(s.weights.square).reshape(1, 2, s.size, 4)
    return scaledDotProductAttention(x, x.mul(0.7), x.tanh()).reshape(s.size, D)
  }),

  // Autocast
  'autocast linear': layer(c => {
    const [w, o] = [matrix(c), low(c)]
    return (h, s) => float(autocast(o, () => linear(h, w(s), s.weights.bias)))
  }),
  'autocast, write, again': layer(c => {
    const [w, o, k] = [matrix(c), low(c), c.number(0.5, 0.95)]
    return (h, s) =>
      float(
        autocast(o, () => {
          const first = noGrad(() => linear(h, w(s)))
          noGrad(() => void w(s).mul_(k))
          return linear(h, w(s)).add(first)
        }),
      )
  }),
  'autocast critic': loss(c => {
    const o = low(c)
    return (h, s) => float(autocast(o, () => critic(s, h)))
  }),
  'autocast both leaves': layer(c => {
    const o = low(c)
    return (h, s) => float(autocast(o, () => linear(h, s.weights.square).add(linear(h, s.twins.square))))
  }),
  'autocast view': layer(c => {
    const [o, heads] = [low(c), c.one([2, 4])]
    return (h, s) =>
      float(autocast(o, () => h.matmul(s.weights.square.reshape(heads, D, D / heads))))
        .permute(1, 0, 2)
        .reshape(s.size, D)
  }),

  // Computed and stored indices
  'gather by argmax': loss(
    () => h =>
      h
        .gather(1, h.detach().argmax({ dim: 1, keepdim: true }))
        .mean()
        .mul(0.1),
  ),
  'gather by labels': loss(() => (h, s) => h.logSoftmax(-1).gather(1, s.labels.unsqueeze(1)).mean().mul(-0.1)),
  'one-hot of labels': layer(() => (h, s) => h.add(s.labels.oneHot(D).float())),
  'rows by argmax': layer(() => (h, s) => h.add(s.weights.table.indexSelect(0, h.detach().argmax(1)))),
  'pseudo labels': loss(() => h => crossEntropy(h, h.detach().argmax(1)).mul(0.1)),
  'sorted rows': layer(() => h => h.sort({ dim: 1 })[0]),
  topk: loss(() => h => h.topk(2)[0].mean()),

  // Errors
  'wrong label caught': effect(c => {
    const [when, form] = [at(c), c.int(4)]
    return (h, s) => {
      const labels = when(s.t) ? s.wrong : s.labels
      s.trace.try('wrong label', () => {
        if (form === 0) s.losses.push(crossEntropy(h, labels))
        else if (form === 1) s.pool.push(h.add(embedding(labels, s.weights.table)))
        else if (form === 2) s.losses.push(h.gather(1, labels.unsqueeze(1)).mean())
        else s.pool.push(h.add(s.weights.square.indexSelect(0, labels)))
      })
    }
  }),
  'unused error': effect(c => {
    const [when, form] = [at(c), c.int(4)]
    return (h, s) => {
      if (!when(s.t)) return
      s.trace.try('unused error', () => {
        if (form === 0) void s.weights.square.indexSelect(0, s.wrong)
        else if (form === 1) void h.gather(1, s.wrong.unsqueeze(1))
        else if (form === 2) void s.counts.remainder(s.zeros)
        else void s.counts.pow(s.zeros.sub(1))
      })
    }
  }),
  'unused ops that may fail': effect(c => {
    const [when, form] = [at(c), c.int(3)]
    return (h, s) => {
      const wrong = when(s.t)
      s.trace.try('unused op', () => {
        if (form === 0) void s.weights.square.indexSelect(0, wrong ? s.wrong : s.labels)
        else if (form === 1) void h.gather(1, (wrong ? s.wrong : s.labels).unsqueeze(1))
        else void s.counts.remainder(wrong ? s.zeros : s.rows.add(1))
      })
    }
  }),
  'whole remainder': effect(c => {
    const [when, power] = [at(c), c.chance(0.5)]
    return (_, s) => {
      const divisor = when(s.t) ? s.zeros : s.rows.add(1)
      s.trace.try('remainder', () => {
        const r = power ? s.counts.pow(when(s.t) ? s.zeros.sub(1) : s.zeros.add(2)) : s.counts.remainder(divisor)
        s.losses.push(r.float().mean().mul(0.01))
      })
    }
  }),
  'shape error': effect(() => (h, s) => void s.trace.try('shapes', () => h.matmul(s.labels)), { wild: 0.5 }),
  'error at last': effect(
    () => () => {
      throw new Error('user')
    },
    { wild: 1 },
  ),
  'error caught': effect(c => {
    const w = matrix(c)
    return (h, s) =>
      s.trace.try('user', () => {
        s.pool.push(linear(h, w(s)))
        throw new Error('user')
      })
  }),

  // Questions
  'requiresGrad asked': effect(() => (h, s) => s.trace.say('requiresGrad', h.requiresGrad)),
  'requiresGrad asked of blocks': layer(
    c => {
      const n = 3 + c.int(22)
      return (h, s) => {
        let out = h.detach()
        for (let i = 0; i < n; i++) out = out.add(linear(out, s.frozen).tanh().mul(0.1))
        s.trace.say('requiresGrad', out.requiresGrad)
        return out
      }
    },
    { pure: false },
  ),
  'write of frozen features': effect(c => {
    const n = 3 + c.int(22)
    return (h, s) => {
      let out = h.detach()
      for (let i = 0; i < n; i++) out = out.add(linear(out, s.frozen).tanh().mul(0.1))
      noGrad(() => void s.statistic.copy_(out.mean({ dim: 0 })))
    }
  }),

  // Writes to results and whole numbers
  'write of a result': layer(c => {
    const form = c.int(4)
    return (h, s) => {
      const x = h.mul(1.1)
      if (form === 0) return x.add_(pick(s, form)).relu_()
      if (form === 1) return x.mul_(0.5)
      if (form === 2) return x.maskedFill_(h.detach().gt(0.5), 0.1)
      return x.clamp_(-1, 1)
    }
  }),
  counts: effect(
    c => {
      const form = c.int(3)
      return (h, s) => {
        if (form === 0) s.counts.add_(1)
        else if (form === 1) s.counts.scatterAdd_(0, s.labels, s.labels.mul(0).add(1))
        else s.counts.indexAdd_(0, h.detach().argmax(1), s.labels.mul(0).add(1))
      }
    },
    { pure: true },
  ),
  'rows replaced': effect(
    c => {
      const i = c.int(3)
      return (h, s) => {
        noGrad(
          () => void s.replay.narrow(0, i * 2, Math.min(2, s.size)).copy_(h.detach().narrow(0, 0, Math.min(2, s.size))),
        )
        s.losses.push(
          s.replay
            .narrow(0, (i + 1) * 2, s.size)
            .mul(pick(s, i))
            .mean()
            .mul(0.1),
        )
      }
    },
    { pure: true },
  ),
  'rows saved, written, used': loss(() => (h, s) => {
    const saved = h.mul(s.statistic)
    noGrad(() => void s.statistic.mul_(0.99))
    return saved.mean().detach()
  }),

  // Gradients
  'gradient penalty': loss(c => {
    const w = matrix(c)
    return (h, s) => {
      const [g] = grad(linear(h.detach(), w(s)).tanh().sum(), [w(s)], { createGraph: true })
      return g!.square().mean().mul(0.1)
    }
  }),
  'gradient kept': effect(
    c => {
      const w = matrix(c)
      return (_, s) => {
        const g = w(s).grad
        s.trace.say('gradient', g !== null)
        if (g && s.grads.length < 3) s.grads.push(g.keep())
      }
    },
    { wild: 0.7 },
  ),
  'gradient scaled': effect(c => {
    const w = matrix(c)
    return (_, s) => {
      const g = w(s).grad
      if (g) noGrad(() => void g.mul_(0.5))
    }
  }),
  'backward of a part': effect(
    c => {
      const w = matrix(c)
      return (_, s) => linear(s.x, w(s)).square().mean().backward()
    },
    { pure: true },
  ),
  'backward with createGraph': effect(
    () => (_, s) => {
      s.x.matmul(s.loose).square().mean().backward({ createGraph: true })
    },
    { wild: 0.7 },
  ),
  'retained gradient': effect(() => (h, s) => {
    const x = h.mul(1)
    if (x.requiresGrad) x.retainGrad()
    s.pool.push(x)
  }),

  // Random numbers
  dropout: layer(c => {
    const p = c.number(0.1, 0.6)
    return h => dropout(h, { p })
  }),
  'mask of a generator': layer(c => {
    const p = c.number(0.1, 0.6)
    return (h, s) => h.mul(bernoulli(s.x.mul(0).add(p), { generator: s.generator }))
  }),
  noise: layer(c => {
    const own = c.chance(0.5)
    return (h, s) => h.add(randn([s.size, D], own ? { generator: s.generator } : {}).mul(0.1))
  }),
  'random mask': layer(() => (h, s) => h.mul(bernoulli(s.x.mul(0).add(0.7)))),
  'seed in the middle': effect(
    c => {
      const [seed, changes] = [c.int(99), c.chance(0.5)]
      return (_, s) => manualSeed(changes ? seed + s.t : seed)
    },
    { wild: 0.5 },
  ),
  'generator seeded': effect(
    c => {
      const seed = c.int(99)
      return (_, s) => void s.generator.manualSeed(seed)
    },
    { wild: 0.5 },
  ),

  // Reads, files, what lives on
  'value read': effect(() => (h, s) => s.trace.see('value', h), { wild: 0.6 }),
  'mean read': effect(() => (h, s) => s.trace.say('mean', h.mean().itemSync()), { wild: 0.6 }),
  'weight read': effect(
    c => {
      const w = matrix(c)
      return (_, s) => s.trace.look('weight', () => w(s).detach().t())
    },
    { wild: 0.6 },
  ),
  'branch on a value': layer(() => (h, s) => (h.mean().itemSync() > 0.05 ? h.relu() : linear(h, s.weights.square)), {
    wild: 0.6,
    pure: false,
  }),
  'weights saved': effect(
    () => (_, s) => {
      saveSafetensors(s.file, { square: s.weights.square, statistic: s.statistic, replay: s.replay })
      s.trace.say('file', Buffer.from(readFileSync(s.file)).toString('base64').slice(-400))
    },
    { wild: 0.7 },
  ),
  'result kept': effect(
    () => (h, s) => {
      if (s.kept.length < 3) s.kept.push(h.mul(1).detach().keep())
    },
    { wild: 0.6 },
  ),
  'kept used': layer(
    () => (h, s) => {
      const k = s.kept[0]
      return k?.shape[0] === s.size ? h.add(k) : h
    },
    { pure: false },
  ),
  'kept written': effect(() => (_, s) => {
    if (s.kept[0]) s.kept[0].mul_(0.9)
  }),
  scoped: layer(c => {
    const w = matrix(c)
    return (h, s) => scope(() => linear(h, w(s)).relu())
  }),
  'host numbers': layer(() => (h, s) => h.add(tensor(Float32Array.from({ length: D }, (_, i) => Math.sin(i + s.t)))), {
    pure: false,
  }),
  'mean squared error': loss(() => (h, s) => mseLoss(h, s.x)),
}
