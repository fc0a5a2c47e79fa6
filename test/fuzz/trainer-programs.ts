/** Random Trainer programs: a model, its run and callbacks that change whatever can be assigned. Also a task among others. */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  autocast,
  type Callback,
  type CaptureMode,
  capture,
  data,
  ModelEmaCallback,
  nn,
  optim,
  StopTrainingError,
  schedulers,
  type Tensor,
  Trainer,
  tensor,
} from '../../ts/index.ts'
import { asyncScope, Generator, grad, keep, manualSeed, noGrad, rand, scope } from '../../ts/tensor/index.ts'
import { Choices, draw, type Instruction, type Kind, type Pending, pause, type Trace } from './shared.ts'

/** Trainer programs have so many steps at most. */
const STEPS = 24
const FEATURES = 6
const WIDTH = 8
const CLASSES = 4

type Batch = [Tensor, Tensor]

/** Values of a tensor of `shape`. */
const values = (c: Choices, ...shape: number[]) =>
  tensor(c.values(shape.reduce((a, b) => a * b, 1)))
    .reshape(shape)
    .contiguous()
const parameter = (c: Choices, ...shape: number[]) => scope(() => new nn.Parameter(values(c, ...shape).mul(0.5)))

/** A layer whose weights don't come from the global generator. */
function layer(c: Choices, input: number, output: number): nn.Linear {
  const linear = new nn.Linear(input, output)
  noGrad(() => {
    for (const p of linear.parameters()) scope(() => void p.copy_(values(c, ...p.shape).mul(0.5)))
  })
  return linear
}

class Net extends nn.Module<[Tensor], Tensor> {
  first: nn.Linear
  norm = new nn.BatchNorm1d(WIDTH)
  dropout: nn.Dropout | nn.Identity
  heads: nn.Parameter
  flat: nn.Parameter
  head: nn.Linear
  readonly form: number

  constructor(c: Choices, form: number, dropout: boolean) {
    super()
    this.first = layer(c, FEATURES, WIDTH)
    this.dropout = dropout ? new nn.Dropout(0.3) : new nn.Identity()
    this.heads = parameter(c, WIDTH, WIDTH)
    this.flat = parameter(c, WIDTH * WIDTH)
    this.head = layer(c, WIDTH, CLASSES)
    this.form = form
  }
  forward(x: Tensor): Tensor {
    let h = this.norm.forward(this.first.forward(x)).relu()
    const rows = h.shape[0] ?? 0
    if (this.form === 1) {
      const heads = h.matmul(this.heads.reshape(2, WIDTH, WIDTH / 2))
      h = heads.permute(1, 0, 2).reshape(rows, WIDTH)
    }
    if (this.form === 2) h = nn.F.linear(h, this.flat.reshape(WIDTH, WIDTH)).tanh()
    if (this.form === 3) for (let i = 0; i < 5; i++) h = nn.F.linear(h, this.heads, this.first.bias).tanh()
    return this.head.forward(this.dropout.forward(h))
  }
}

/** Where an action takes place: in the step, between two steps, or between two epochs. */
type Place = 'step' | 'gradients' | 'update' | 'batch' | 'epoch' | 'evaluation'

/** What an action has at hand. */
interface Hand {
  trainer: FuzzTrainer
  run: TrainerRun
  batch: Batch | null
  loss: Tensor | null
  outputs: Tensor | null
}
type Action = Kind<Hand, void | Promise<void>> & { places: readonly Place[] }
const everywhere = ['step', 'gradients', 'update', 'batch', 'epoch'] as const
const between = ['batch', 'epoch'] as const

const layerOf = (c: Choices) => {
  const name = c.one(['first', 'head', 'norm'] as const)
  return ({ trainer }: Hand): nn.Module => trainer.model[name]
}

/** What callbacks do. `pure` ones change the run in ways that a step declared pure allows: between steps and epochs. */
const actions: Record<string, Action> = {
  // What can be assigned
  lr: {
    places: everywhere,
    pure: true,
    make: c => {
      const lr = c.number(0.005, 0.1)
      return ({ trainer }) => {
        trainer.optimizer.paramGroups[0]!.lr = lr
      }
    },
  },
  'lr decays': {
    places: everywhere,
    pure: true,
    make:
      () =>
      ({ trainer }) => {
        trainer.optimizer.paramGroups[0]!.lr *= 0.9
      },
  },
  'weight decay': {
    places: everywhere,
    pure: true,
    make: c => {
      const decay = c.number(0, 0.2)
      return ({ trainer }) => {
        trainer.optimizer.paramGroups[0]!.weightDecay = decay
      }
    },
  },
  momentum: {
    places: everywhere,
    pure: true,
    make: c => {
      const momentum = c.number(0.1, 0.95)
      return ({ trainer }) => {
        if (trainer.optimizer instanceof optim.SGD) trainer.optimizer.paramGroups[0]!.momentum = momentum
        else trainer.optimizer.paramGroups[0]!.betas = [momentum, 0.99]
      }
    },
  },
  'another loss': {
    places: everywhere,
    pure: true,
    make: c => {
      const labelSmoothing = c.number(0.05, 0.3)
      return ({ trainer }) => {
        trainer.loss = new nn.CrossEntropyLoss({ labelSmoothing })
      }
    },
  },
  'loss as a function': {
    places: everywhere,
    pure: true,
    make: c => {
      const k = c.number(0.5, 2)
      return ({ trainer }) => {
        trainer.loss = (x, y) => nn.F.crossEntropy(x.mul(k), y)
      }
    },
  },
  'frozen layer': {
    places: everywhere,
    pure: true,
    make: c => {
      const of = layerOf(c)
      return hand => void of(hand).requiresGrad_(false)
    },
  },
  'thawed layers': {
    places: everywhere,
    pure: true,
    make:
      () =>
      ({ trainer }) =>
        void trainer.model.requiresGrad_(true),
  },
  'dropout off': {
    places: everywhere,
    pure: true,
    make:
      () =>
      ({ trainer }) =>
        void trainer.model.dropout.eval(),
  },
  'evaluation mode': {
    places: everywhere,
    pure: true,
    make:
      () =>
      ({ trainer }) =>
        void trainer.model.eval(),
  },
  'training mode': {
    places: everywhere,
    pure: true,
    make:
      () =>
      ({ trainer }) =>
        void trainer.model.train(),
  },
  'another head': {
    places: between,
    pure: true,
    wild: 1,
    make: c => {
      const own = c.apart()
      return ({ trainer }) => {
        trainer.model.head = layer(own, WIDTH, CLASSES)
        trainer.optimizer.addParamGroup({ params: trainer.model.head.parameters(), lr: 0.01 })
      }
    },
  },
  'another optimizer': {
    places: between,
    pure: true,
    wild: 1,
    make: c => {
      const adam = c.chance(0.5)
      return ({ trainer }) => {
        const params = trainer.model.parameters()
        trainer.optimizer = adam
          ? new optim.AdamW(params, { lr: 0.01 })
          : new optim.SGD(params, { lr: 0.02, momentum: 0.5 })
      }
    },
  },
  'another model': {
    places: ['epoch'],
    pure: true,
    wild: 1,
    make: c => {
      const own = c.apart()
      return ({ trainer }) => {
        trainer.model = new Net(own, 0, false)
        trainer.optimizer = new optim.SGD(trainer.model.parameters(), { lr: 0.05 })
      }
    },
  },
  'seed set': {
    places: everywhere,
    pure: true,
    make: c => {
      const seed = c.int(99)
      return () => manualSeed(seed)
    },
  },
  'numbers drawn': { places: everywhere, pure: true, make: () => () => scope(() => void rand([3])) },
  'weights loaded': {
    places: between,
    pure: true,
    wild: 0.7,
    make:
      () =>
      ({ trainer, run }) => {
        if (run.saved && trainer.model === run.model) trainer.model.loadStateDict(run.saved, { strict: false })
        else
          run.saved = Object.fromEntries(
            Object.entries(trainer.model.stateDict()).map(([k, x]) => [k, x.clone().keep()]),
          )
      },
  },
  'optimizer state loaded': {
    places: between,
    pure: true,
    wild: 0.7,
    make:
      () =>
      ({ trainer }) => {
        const { optimizer } = trainer
        if (optimizer instanceof optim.SGD) optimizer.loadStateDict(optimizer.stateDict())
      },
  },
  'updates skipped': {
    places: between,
    pure: true,
    make:
      () =>
      ({ trainer }) => {
        trainer.skipNonFiniteUpdates = !trainer.skipNonFiniteUpdates
      },
  },

  // Writes
  'weights moved': {
    places: everywhere,
    pure: true,
    make: c => {
      const of = layerOf(c)
      return hand =>
        noGrad(() => {
          for (const p of of(hand).parameters()) p.mul_(0.98)
        })
    },
  },
  'gradients scaled': {
    places: ['gradients', 'update'],
    make:
      () =>
      ({ trainer }) =>
        scope(() =>
          noGrad(() => {
            for (const p of trainer.model.parameters()) p.grad?.mul_(0.5)
          }),
        ),
  },
  'gradient dropped': {
    places: ['gradients'],
    make:
      () =>
      ({ trainer }) => {
        trainer.model.head.bias!.grad = null
      },
  },
  'gradients cleared': {
    places: ['update', 'batch'],
    make:
      () =>
      ({ trainer }) =>
        trainer.optimizer.zeroGrad(),
  },
  'batch written': {
    places: ['step'],
    make:
      () =>
      ({ batch }) => {
        if (batch) noGrad(() => void batch[0].mul_(0.9))
      },
  },
  'dataset written': {
    places: everywhere,
    make: c => {
      const at = c.int(20)
      return ({ run, outputs }) =>
        scope(() =>
          noGrad(() => {
            const row = run.dataset.tensors[0].narrow(0, at, 1)
            if (outputs) row.add_(outputs.detach().mean().mul(0.1))
            else row.mul_(0.9)
          }),
        )
    },
  },
  'replay buffer': {
    weight: 3,
    places: everywhere,
    wild: 0.3,
    make: c => {
      const [at, ahead] = [c.int(6), c.chance(0.5)]
      return async ({ run, batch, trainer }) => {
        if (batch)
          scope(() => noGrad(() => void run.replay.narrow(0, at, 1).copy_(batch[0].detach().narrow(0, 0, 1).mul(2))))
        const rows = new data.TensorDataset<[Tensor]>(run.replay)
        const loader = new data.DataLoader<[Tensor], [Tensor]>(rows, {
          batchSize: 3,
          ...(ahead ? {} : { prefetch: 0 }),
        })
        for await (const [x] of loader) {
          run.trace.see('replayed rows', x)
          run.trace.look('of rows', () => noGrad(() => trainer.model.head.weight.detach().mul(x.mean())))
          x.dispose()
        }
      }
    },
  },
  'moving average': {
    places: ['update', 'batch'],
    pure: true,
    make:
      () =>
      ({ trainer, run }) =>
        scope(() => noGrad(() => void run.average.mul_(0.9).add_(trainer.model.heads, { alpha: 0.1 }))),
  },
  'inner step': {
    places: everywhere,
    make: c => {
      const k = c.number(0.5, 1)
      return ({ run, trainer }) => {
        run.inner ??= capture((w: Tensor) => w.mul(k).sum(), { mode: run.mode })
        const { inner } = run
        run.trace.look('inner', () => inner(trainer.model.heads.detach()))
      }
    },
  },
  critic: {
    places: ['step'],
    make: c => {
      const under = c.chance(0.5)
      return ({ run, trainer }) =>
        scope(() => {
          const work = () => run.critic.forward(trainer.model.heads.detach()).square().mean()
          run.criticOptimizer.zeroGrad()
          const loss = under ? autocast({}, work) : work()
          loss.backward()
          run.criticOptimizer.step()
          run.trace.see('critic', (under ? autocast({}, work) : work()).detach())
        })
    },
  },

  // Reads
  'loss read': {
    places: ['step'],
    wild: 0.5,
    make: c => {
      const later = c.chance(0.5)
      return async ({ run, loss }) => {
        if (loss) run.trace.say('loss', later ? await loss.item() : loss.itemSync())
      }
    },
  },
  'weights read': {
    places: everywhere,
    wild: 0.5,
    make:
      () =>
      ({ run, trainer }) =>
        run.trace.look('head', () => trainer.model.head.weight.detach()),
  },
  'gradients read': {
    places: ['gradients', 'update'],
    wild: 0.5,
    make:
      () =>
      ({ run, trainer }) =>
        run.trace.look('gradient', () => trainer.model.first.weight.grad),
  },
  'outputs kept': {
    places: ['step'],
    wild: 0.6,
    make:
      () =>
      ({ run, outputs }) => {
        if (outputs && run.kept.length < 3) run.kept.push(keep(outputs))
      },
  },
  'kept read': {
    places: everywhere,
    wild: 0.6,
    make:
      () =>
      ({ run }) => {
        const x = run.kept.shift()
        if (!x) return
        run.trace.see('kept', x)
        run.trace.try('dispose', () => x.dispose())
      },
  },
  evaluation: {
    places: ['batch'],
    wild: 0.8,
    make:
      () =>
      ({ trainer }) =>
        trainer.evaluateInRun({ isIntermediate: true }),
  },
  'region of a scope': {
    places: everywhere,
    make: c => {
      const own = c.apart()
      return async ({ run, trainer }) => {
        const x = await asyncScope(async () => {
          const y = trainer.model.heads.detach().mul(2)
          await pause(own)
          return y.sum()
        })
        run.trace.see('of the scope', x)
        x.dispose()
      }
    },
  },
  delay: {
    weight: 2,
    places: [...everywhere, 'evaluation'],
    make: c => {
      const own = c.apart()
      return () => pause(own)
    },
  },
  stop: {
    places: everywhere,
    wild: 1,
    make: c => {
      const whole = c.chance(0.5)
      return () => {
        throw whole ? new Error('user') : new StopTrainingError('enough')
      }
    },
  },
}

/** The Trainer of a program: its loss may be computed in other ways. */
class FuzzTrainer extends Trainer<Net, Batch, Tensor> {
  declare optimizer: optim.SGD | optim.AdamW
  readonly program: TrainerProgram
  readonly run: TrainerRun

  constructor(run: TrainerRun, options: ConstructorParameters<typeof Trainer<Net, Batch, Tensor>>[0]) {
    super(options)
    this.program = run.program
    this.run = run
  }
  override print(...printed: unknown[]) {
    this.run.trace.say('printed', printed.join(' '))
  }
  override calculateTrainBatchLoss(batch: Batch) {
    const { penalty, late, view } = this.program
    if (view) batch = [batch[0].reshape(-1).reshape(-1, FEATURES), batch[1]]
    const out = super.calculateTrainBatchLoss(batch) as { loss: Tensor; modelOutputs: Tensor; batchSize: number }
    if (penalty) {
      const inside = nn.F.linear(batch[0], this.model.first.weight).tanh().sum()
      const g = grad(inside, this.model.first.weight, { createGraph: true })
      out.loss = out.loss.add(g.square().mean().mul(0.1))
    }
    if (!late) return out
    return (async () => {
      await pause(this.run.pauses)
      if (late === 2) out.loss = out.loss.add(this.model.heads.square().mean().mul(0.01))
      return out
    })()
  }
}

/** A Trainer program. */
export type TrainerProgram = ReturnType<typeof trainerProgram>
/** `global` false leaves out what touches the global generator, which all tasks of a process share. */
export function trainerProgram(seed: number, pending: Pending, global = true) {
  const c = new Choices(seed)
  const pure = c.chance(0.4)
  const wild = c.one([0.1, 0.3, 0.6, 1])
  const drawn = draw(c.apart(), actions, c.int(9), STEPS, { wild, pure, pending })
  const stepsPerCall = 1 + c.int(5)
  const shared = ['seed set', 'numbers drawn']
  const places = c.apart()
  const hooks = drawn.flatMap(i => {
    const { places: all } = actions[i.name] as Action
    const allowed = pure ? all.filter(p => p === 'epoch' || (p === 'batch' && stepsPerCall === 1)) : all
    const place = places.one([...allowed, 'none'])
    return place === 'none' || (!global && shared.includes(i.name)) ? [] : [{ ...i, place: place as Place }]
  })
  const own = c.apart()
  const settings = {
    pure,
    stepsPerCall,
    form: own.int(4),
    dropout: global && own.chance(0.4),
    adam: own.chance(0.4),
    momentum: own.one([0, 0.9]),
    precision: own.one(['no', 'no', 'bf16', 'fp16'] as const),
    seed: global && own.chance(0.5) ? own.int(9) : undefined,
    epochs: 2 + own.int(3),
    batch: own.one([4, 4, 4, 5, 11]),
    accumulation: own.chance(pure ? 0.1 : 0.25) ? 2 + own.int(2) : 1,
    clipNorm: own.chance(0.25) ? 0.5 : undefined,
    clipValue: own.chance(0.15) ? 0.05 : undefined,
    scheduler: own.chance(0.35) ? own.int(4) : -1,
    evaluates: own.chance(0.5),
    ema: own.chance(0.2) ? 1 + own.int(2) : 0,
    penalty: own.chance(0.15),
    late: pure ? 0 : own.one([0, 0, 0, 1, 2]),
    view: own.chance(0.2),
    runs: own.chance(0.2) ? 2 : 1,
    order: own.chance(0.5),
    noFusion: own.chance(0.2),
    copySlots: own.chance(0.5),
  }
  return {
    number: seed,
    hooks,
    names: [JSON.stringify(settings), ...hooks.map(i => `${i.name} (${i.place})`)],
    ...settings,
  }
}

let files = 0
/** What a run of a program owns. */
export class TrainerRun {
  readonly program: TrainerProgram
  readonly mode: CaptureMode
  readonly trace: Trace
  readonly pauses: Choices
  readonly model: Net
  readonly dataset: data.TensorDataset<Batch>
  readonly evalDataset: data.TensorDataset<Batch>
  readonly replay: Tensor
  readonly average: Tensor
  readonly critic: nn.Linear
  readonly criticOptimizer: optim.SGD
  readonly kept: Tensor[] = []
  inner: ((w: Tensor) => Tensor) | undefined
  saved: Record<string, Tensor> | undefined

  constructor(program: TrainerProgram, mode: CaptureMode, trace: Trace, pauses: Choices) {
    this.program = program
    this.mode = mode
    this.trace = trace
    this.pauses = pauses
    const c = new Choices(program.number ^ 0x5bd1e995)
    this.model = new Net(c.apart(), program.form, program.dropout)
    const rows = (n: number) =>
      new data.TensorDataset<Batch>(
        values(c, n, FEATURES).keep(),
        tensor(BigInt64Array.from({ length: n }, () => BigInt(c.int(CLASSES)))).keep(),
      )
    this.dataset = rows(22)
    this.evalDataset = rows(9)
    this.replay = values(c, 6, FEATURES).keep()
    this.average = values(c, WIDTH, WIDTH).keep()
    this.critic = layer(c, WIDTH, 2)
    this.criticOptimizer = new optim.SGD(this.critic.parameters(), { lr: 0.1 })
  }

  /** Trains; everything that a user can see goes to the trace. */
  async train(): Promise<void> {
    const p = this.program
    const { trace, model } = this
    const steps = !p.pure
    const optimizer = p.adam
      ? new optim.AdamW(model.parameters(), { lr: 0.02 })
      : new optim.SGD(model.parameters(), { lr: 0.05, momentum: p.momentum })
    const savePath = join(tmpdir(), `wick-fuzz-${process.pid}-${files++}.safetensors`)
    const ema =
      p.ema > 0
        ? [
            new ModelEmaCallback({
              decay: 0.8,
              savePath,
              watchMetric: 'train_loss_epoch',
              modelEma: p.ema === 1 ? optim.EMA : optim.SWA,
            }),
          ]
        : []
    const trainer: FuzzTrainer = new FuzzTrainer(this, {
      model,
      optimizer,
      loss: new nn.CrossEntropyLoss(),
      precision: p.precision,
      capture: this.mode,
      callbacks: [this.#callback(() => trainer), ...ema],
      ...(p.stepsPerCall ? { stepsPerCall: p.stepsPerCall } : {}),
      ...(p.seed === undefined ? {} : { seed: p.seed }),
    })
    const generator = p.seed === undefined ? { generator: new Generator(5) } : {}
    for (let run = 0; run < p.runs; run++) {
      await trace.tryAsync('train', () =>
        trainer.train({
          trainDataset: this.dataset,
          ...(p.evaluates ? { evalDataset: this.evalDataset } : {}),
          numEpochs: p.epochs,
          perDeviceBatchSize: p.batch,
          gradientAccumulationSteps: p.accumulation,
          gradientClipNorm: p.clipNorm,
          gradientClipValue: p.clipValue,
          trainDataLoaderOptions: { shuffle: p.order, ...(p.order ? generator : {}) },
          createScheduler: this.#scheduler(),
        }),
      )
      await this.#seeRun(trainer)
    }
    for (const [name, x] of Object.entries(trainer.optimizer.stateDict().state).flatMap(([i, state]) =>
      Object.entries(state).map(([key, value]) => [`${i}.${key}`, value] as const),
    )) {
      if (typeof x === 'number') trace.say(name, x)
      else trace.see(name, x)
    }
    trace.see('average', this.average)
    trace.see('replay', this.replay)
    trace.see('critic', this.critic.weight)
    for (const x of this.kept) trace.try('dispose', () => x.dispose())
    if (steps) trace.see('dataset', this.dataset.tensors[0])
    rmSync(savePath, { force: true })
  }

  async #seeRun(trainer: FuzzTrainer): Promise<void> {
    const { trace } = this
    for (const [name, x] of Object.entries(trainer.model.stateDict())) trace.see(name, x)
    for (const p of trainer.model.parameters()) trace.look('gradient', () => p.grad)
    for (const name of trainer.runHistory.getMetricNames())
      trace.say(name, trainer.runHistory.getMetricValues(name).join(' '))
    trace.say('steps', trainer.globalStep)
    if (trainer.scaler) trace.say('scale', await trainer.scaler.getScale())
  }

  #scheduler() {
    const { scheduler } = this.program
    const made = [
      (o: optim.SGD) => new schedulers.StepLR(o, { stepSize: 3, gamma: 0.5 }),
      (o: optim.SGD) => new schedulers.CosineAnnealingLR(o, { tMax: 10 }),
      (o: optim.SGD) => new schedulers.ExponentialLR(o, { gamma: 0.9 }),
      (o: optim.SGD) =>
        Object.assign(new schedulers.StepLR(o, { stepSize: 1, gamma: 0.5 }), { interval: 'epoch' as const }),
    ][scheduler]
    return made ? ({ optimizer }: { optimizer: unknown }) => made(optimizer as optim.SGD) : undefined
  }

  #callback(of: () => FuzzTrainer): Callback<Trainer<Net, Batch, Tensor>> {
    const { trace, program } = this
    let epoch = 0
    const act = (place: Place, t: number, given: Partial<Hand> = {}): void | Promise<void> => {
      const taking = program.hooks.filter(h => h.place === place && h.when(t))
      const hand: Hand = { trainer: of(), run: this, batch: null, loss: null, outputs: null, ...given }
      return inTurn(taking, hand)
    }
    const stepwise = !program.pure
    const say = (event: string, value: string | number) => {
      if (stepwise) trace.say(event, value)
    }
    return {
      onTrainEpochStart: trainer => {
        trace.say('step', `epoch ${++epoch}`)
        return act('epoch', trainer.globalStep)
      },
      onTrainStepStart: trainer => say('step', trainer.globalStep),
      onTrainStepEnd: (trainer, { batch, batchOutput }) => {
        say('onTrainStepEnd', trainer.globalStep)
        return act('step', trainer.globalStep, { batch, loss: batchOutput.loss, outputs: batchOutput.modelOutputs })
      },
      onGradientsReady: trainer => {
        say('onGradientsReady', trainer.globalStep)
        return act('gradients', trainer.globalStep)
      },
      onTrainUpdateEnd: (trainer, { update }) => {
        say('onTrainUpdateEnd', update)
        return act('update', trainer.globalStep)
      },
      onTrainBatchEnd: trainer => {
        if (stepwise) for (const [name, x] of Object.entries(trainer.model.stateDict())) trace.see(name, x)
        return act('batch', trainer.globalStep)
      },
      onEvalStepEnd: (trainer, { batchOutput }) => {
        trace.see('evaluation loss', batchOutput.loss)
        return act('evaluation', trainer.globalStep)
      },
      onTrainEpochEnd: trainer => {
        for (const [name, x] of Object.entries(trainer.model.stateDict())) trace.see(name, x)
      },
    }
  }
}

/** Runs actions one after the other; a promise only where one gave one. */
function inTurn(list: readonly Instruction<Hand, void | Promise<void>>[], hand: Hand): void | Promise<void> {
  for (const [i, action] of list.entries()) {
    const given = action.run(hand)
    if (given) return given.then(() => inTurn(list.slice(i + 1), hand))
  }
}
