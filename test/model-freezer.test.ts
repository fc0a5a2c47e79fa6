/** `ModelFreezer`: ranges of groups, batch norms, and what an optimizer gets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  data,
  ModelFreezer,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  type Tensor,
  Trainer,
  WickError,
} from '../ts/index.ts'

class Net extends nn.Module<[Tensor], Tensor> {
  stem = new nn.Sequential(new nn.Linear(4, 6), new nn.BatchNorm1d(6), new nn.ReLU())
  body = new nn.Linear(6, 5)
  act = new nn.ReLU()
  head = new nn.Linear(5, 3)

  forward(x: Tensor) {
    return this.head.forward(this.act.forward(this.body.forward(this.stem.forward(x))))
  }
}
const frozen = (freezer: ModelFreezer) => freezer.getLayerGroups().map(({ isFrozen }) => isFrozen)
const trainable = (module: nn.Module) => module.parameters().every(p => p.requiresGrad)

test('groups and layers have indices from both ends', () => {
  const freezer = new ModelFreezer(new Net())
  assert.deepEqual(
    freezer.getLayerGroups().map(g => g.layerGroupIdx),
    [
      [0, -4],
      [1, -3],
      [2, -2],
      [3, -1],
    ],
  )
  const layers = freezer.getLayers().map(l => [l.layerGroupIdx[0], l.module.constructor.name])
  assert.deepEqual(layers, [
    [0, 'Linear'],
    [0, 'BatchNorm1d'],
    [0, 'ReLU'],
    [1, 'Linear'],
    [2, 'ReLU'],
    [3, 'Linear'],
  ])
})

test('freeze takes ranges in either direction and leaves batch norms trainable unless told', () => {
  const model = new Net()
  const freezer = new ModelFreezer(model)
  freezer.freeze()
  assert.deepEqual(frozen(freezer), [true, true, false, false])
  assert.ok(trainable(model.stem.at(1)))
  assert.equal(freezer.getTrainableParameters().length, 4)
  freezer.unfreeze({ fromIndex: 0, toIndex: -1 })
  freezer.freeze({ fromIndex: -1, toIndex: 1 })
  assert.deepEqual(frozen(freezer), [false, true, false, true])
  const all = new ModelFreezer(model, { freezeBatchNorms: true })
  assert.ok(trainable(model), 'making a freezer unfreezes everything')
  all.freeze({ fromIndex: 0, toIndex: 0 })
  assert.ok(!trainable(model.stem.at(1)))
})

test('the flags for modes are independent of freezing', () => {
  const model = new Net()
  const freezer = new ModelFreezer(model)
  freezer.freeze({ setModulesAsEval: true })
  assert.ok(!trainable(model.body) && !model.body.training && model.head.training)
  freezer.unfreeze({ setModulesAsTraining: false })
  assert.ok(trainable(model.body) && !model.body.training)
  freezer.freeze()
  assert.ok(!trainable(model.body))
  model.train()
  freezer.freeze({ toIndex: -1 })
  assert.ok(model.body.training, 'freezing alone keeps the mode')
  freezer.unfreeze()
  assert.ok(trainable(model) && model.body.training)
})

test('unfreeze gives only what changed, ready for addParamGroup; frozen weights stay', async () => {
  manualSeed(1)
  const model = new Net()
  const freezer = new ModelFreezer(model)
  freezer.freeze()
  const optimizer = new optim.SGD(freezer.getTrainableParameters(), { lr: 0.1 })
  const trainer = new Trainer({ model, loss: new nn.CrossEntropyLoss(), optimizer, callbacks: [] })
  const run = { trainDataset: new data.TensorDataset(randn([16, 4]), randint(0, 3, [16])), numEpochs: 1 }
  const body = () => Array.from(model.body.weight.dataSync(), Number)
  const before = body()
  await trainer.train(run)
  assert.deepEqual(body(), before)
  const groups = freezer.unfreeze({ fromIndex: 1, toIndex: 3 })
  assert.deepEqual(Object.keys(groups), ['1'])
  assert.deepEqual(groups[1]?.params, model.body.parameters())
  for (const group of Object.values(groups)) optimizer.addParamGroup({ ...group, lr: 0.01 })
  await trainer.train({ ...run, resetRunHistory: false })
  assert.notDeepEqual(body(), before)
  assert.deepEqual(freezer.unfreeze({ fromIndex: 1 }), { 0: { params: model.stem.at(0).parameters() } })
})

test('bad indices and options are typed errors', () => {
  const freezer = new ModelFreezer(new Net())
  const code = (expected: string) => (e: unknown) => e instanceof WickError && e.code === expected
  assert.throws(() => freezer.freeze({ toIndex: 4 }), code('INDEX_OUT_OF_RANGE'))
  assert.throws(() => freezer.unfreeze({ fromIndex: -5 }), code('INDEX_OUT_OF_RANGE'))
  assert.throws(() => freezer.freeze({ from: 1 } as object), code('BAD_OPTION'))
})
