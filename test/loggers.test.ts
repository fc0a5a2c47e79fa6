import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inflateSync } from 'node:zlib'
import {
  arange,
  type Callback,
  data,
  type Logger,
  LoggingCallback,
  loggers,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  SaveTrainingStateCallback,
  StopTrainingError,
  type Tensor,
  Trainer,
  tensor,
  WickError,
} from '../ts/index.ts'
import { gitState, withoutSecrets } from '../ts/loggers/environment.ts'

const root = mkdtempSync(join(tmpdir(), 'wick-loggers-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = () => join(root, String(folders++))
const read = (...path: string[]) => readFileSync(join(...path), 'utf8')

const dataset = (n: number) => new data.TensorDataset<[Tensor, Tensor]>(randn([n, 4]), randint(0, 3, [n]))
function classifier(list: Logger[], callbacks: Callback<Trainer<nn.Linear, [Tensor, Tensor]>>[] = []) {
  manualSeed(4)
  const model = new nn.Linear(4, 3)
  class Quiet extends Trainer<nn.Linear, [Tensor, Tensor]> {
    override print() {}
  }
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 })
  const trainer = new Quiet({ model, loss: new nn.CrossEntropyLoss(), optimizer, loggers: list, callbacks, seed: 1 })
  return { trainer, model }
}
/** 5 steps an epoch. */
const run = () => ({ trainDataset: dataset(40), evalDataset: dataset(8), numEpochs: 2 })
const everyTwo = () => new LoggingCallback({ logEveryNSteps: 2 })

/** Collects calls. */
class Memory implements Logger {
  readonly calls: string[] = []
  start: Logger['start'] = ({ step, resumed }) => void this.calls.push(`start ${step} ${resumed}`)
  logMetrics: Logger['logMetrics'] = (metrics, { step, epoch }) =>
    void this.calls.push(`${step} ${epoch} ${Object.keys(metrics)}`)
  logMedia: Logger['logMedia'] = (name, { kind }, { step }) => void this.calls.push(`${step} ${kind} ${name}`)
  finish: Logger['finish'] = () => void this.calls.push('finish')
}

test('what is logged, and when', async () => {
  const memory = new Memory()
  const custom: Callback = {
    async onTrainEpochEnd({ logger }) {
      await logger.logMedia('weights', await loggers.histogram(tensor([1, 2])))
      await logger.logMetrics({ own: 1 })
    },
    onTrainingRunEpochEnd: ({ runHistory }) => runHistory.updateMetric('late', 3),
  }
  const { trainer } = classifier([memory], [custom, everyTwo()])
  await trainer.train(run())
  await trainer.evaluate({ dataset: dataset(8) })
  const epoch = (steps: number[], last: number, n: number) => [
    ...steps.map(step => `${step} ${n} train_loss,lr`),
    `${last} ${n} histogram weights`,
    `${last} ${n} own`,
    `${last} ${n} train_loss_epoch`,
    `${last} ${n} eval_loss_epoch`,
    `${last} ${n} late`,
  ]
  assert.deepEqual(
    memory.calls.map(call => call.replace(/^(\d+) histogram/, (_, step) => `${step} ${step > 5 ? 2 : 1} histogram`)),
    [
      'start 0 false',
      ...epoch([2, 4], 5, 1),
      ...epoch([6, 8, 10], 10, 2),
      'finish',
      'start 10 true',
      '10 1 evaluation_loss',
      'finish',
    ],
  )
})

test('CSV and JSONL', async () => {
  const dir = folder()
  const { trainer } = classifier(
    [new loggers.CSV(join(dir, 'a.csv')), new loggers.JSONL(join(dir, 'a.jsonl'))],
    [everyTwo()],
  )
  await trainer.train(run())
  const [header, ...rows] = read(dir, 'a.csv').trim().split('\n')
  assert.equal(header, 'step,epoch,train_loss,lr,train_loss_epoch,eval_loss_epoch')
  assert.deepEqual(
    rows.map(row => row.split(',').slice(0, 2).join(' ')),
    ['2 1', '4 1', '5 1', '6 2', '8 2', '10 2'],
  )
  const { runHistory } = trainer
  assert.equal(
    rows[2],
    `5,1,,,${runHistory.getMetricValues('train_loss_epoch')[0]},${runHistory.getMetricValues('eval_loss_epoch')[0]}`,
  )
  const lines = read(dir, 'a.jsonl')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  assert.deepEqual(lines.at(-1).metrics, { eval_loss_epoch: runHistory.getLatestMetric('eval_loss_epoch') })
  assert.deepEqual([lines[0].step, lines[0].epoch, Object.keys(lines[0].metrics)], [2, 1, ['train_loss', 'lr']])
})

test('odd numbers and names', () => {
  const dir = folder()
  const csv = new loggers.CSV(join(dir, 'a.csv'))
  const jsonl = new loggers.JSONL(join(dir, 'a.jsonl'))
  const start = { config: null, device: 'cpu', model: '', step: 0, resumed: false }
  const at = { step: 1, epoch: 1, time: 0 }
  for (const logger of [csv, jsonl]) {
    logger.start(start)
    logger.logMetrics({ 'a,"b"': Number.NaN, c: Number.POSITIVE_INFINITY }, at)
    logger.start({ ...start, step: 1, resumed: true })
    logger.logMetrics({ c: 2 }, { ...at, step: 2 })
  }
  assert.equal(read(dir, 'a.csv'), 'step,epoch,"a,""b""",c\n1,1,NaN,Infinity\n2,1,,2\n')
  assert.match(read(dir, 'a.jsonl'), /"metrics":\{"a,\\"b\\"":"NaN","c":"Infinity"\}/)
})

const begin = { config: null, device: 'cpu', model: '', step: 0, resumed: false }

test('names that would break a table or be a formula come back from a resumed one', () => {
  const dir = folder()
  const path = join(dir, 'a.csv')
  const names = ['two\nlines', 'a,"b"', '=1+1', '@x', '-y', "'=z", '\r', '+q']
  const csv = new loggers.CSV(path)
  csv.start(begin)
  csv.logMetrics(Object.fromEntries(names.map((name, i) => [name, -i])), { step: 1, epoch: 1, time: 0 })
  csv.finish()
  const header = 'step,epoch,"two\nlines","a,""b""",\'=1+1,\'@x,\'-y,\'\'=z,"\'\r",\'+q\n'
  assert.equal(read(path), `${header}1,1,0,-1,-2,-3,-4,-5,-6,-7\n`)
  csv.start({ ...begin, step: 1, resumed: true })
  csv.logMetrics(Object.fromEntries(names.map((name, i) => [name, i])), { step: 2, epoch: 1, time: 0 })
  csv.finish()
  assert.equal(read(path), `${header}1,1,0,-1,-2,-3,-4,-5,-6,-7\n2,1,0,1,2,3,4,5,6,7\n`)
})

test('a metric that is logged again at its step replaces its cell', () => {
  const path = join(folder(), 'a.csv')
  const csv = new loggers.CSV(path)
  csv.start(begin)
  const at = { step: 1, epoch: 1, time: 0 }
  for (const a of [1.25, 100, 3]) csv.logMetrics({ a }, at)
  csv.logMetrics({ b: 2 }, at)
  assert.equal(read(path), 'step,epoch,a,b\n1,1,3,2\n')
})

test('half and damaged lines are passed over, and entries go behind the last whole one', () => {
  const dir = folder()
  const [csvPath, jsonlPath] = [join(dir, 'a.csv'), join(dir, 'a.jsonl')]
  const half = () => {
    mkdirSync(dir, { recursive: true })
    writeFileSync(csvPath, 'step,epoch,a\n1,1,5\n7\n2,1,6\n3,1,')
    const lines = ['{"step":1,"epoch":1,"time":0,"metrics":{"a":5}}', 'null', '{"st', '[1]', '{"step":2,"metrics":3}']
    writeFileSync(jsonlPath, `${lines.join('\n')}\n{"step":3,"epo`)
  }
  const at = { step: 4, epoch: 1, time: 0 }
  for (const isResumed of [false, true]) {
    half()
    const list = [new loggers.CSV(csvPath), new loggers.JSONL(jsonlPath)]
    for (const logger of list) {
      if (isResumed) logger.start({ ...begin, step: 3, resumed: true })
      logger.logMetrics({ a: 8 }, at)
      logger.finish()
    }
    assert.equal(read(csvPath), 'step,epoch,a\n1,1,5\n2,1,6\n4,1,8\n')
    assert.match(read(jsonlPath), /"a":5.*\n.*\n\{"step":4,"epoch":1,"time":0,"metrics":\{"a":8\}\}\n$/)
  }
  appendFileSync(jsonlPath, 'half')
  const runDirectory = new loggers.RunDirectory(dir)
  writeFileSync(join(dir, 'metrics.jsonl'), 'x\n{"step":1,"epoch":1,"time":0,"metrics":{"a":5}}\n{"metrics":null}\n')
  return runDirectory.finish()
})

test('kill -9 at 20 random moments loses no row that was logged', async () => {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const program = fileURLToPath(new URL(`./programs/logging.${extension}`, import.meta.url))
  for (let kill = 0; kill < 20; kill++) {
    const dir = folder()
    const child = spawn(execPath, [program, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    let printed = ''
    child.stdout.on('data', chunk => {
      printed += chunk
    })
    const ended = once(child, 'close')
    await once(child.stdout, 'data')
    await new Promise(resolve => setTimeout(resolve, Math.random() * 30))
    child.kill('SIGKILL')
    await ended
    const steps = Number(printed.trim().split('\n').at(-1))
    const csv = read(dir, 'a.csv').split('\n')
    const jsonl = read(dir, 'a.jsonl').split('\n')
    for (let step = 1; step <= steps; step++) {
      const cells = csv[step]?.split(',') ?? []
      assert.deepEqual(cells.slice(0, 4), [String(step), '1', String(step / 7), String(-step)], `kill ${kill}`)
      assert.deepEqual(JSON.parse(jsonl[2 * step - 1] ?? '').metrics.b, -step)
    }
    // The resumed run goes on behind them.
    const logger = new loggers.CSV(join(dir, 'a.csv'))
    logger.start({ ...begin, step: steps, resumed: true })
    logger.logMetrics({ a: 0 }, { step: steps + 1, epoch: 1, time: 0 })
    logger.finish()
    const rows = read(dir, 'a.csv').trim().split('\n')
    assert.deepEqual(
      [rows.length, rows.at(-1)?.slice(0, String(steps + 1).length + 5)],
      [steps + 2, `${steps + 1},1,0,`],
    )
    assert.deepEqual(readdirSync(dir).sort(), ['a.csv', 'a.jsonl'])
  }
})

test('the command line of a run is recorded without secrets', () => {
  const words = [
    'node',
    'x.ts',
    '--api-key=abc',
    '--lr=1',
    '--token',
    'abc',
    'HF_TOKEN=abc',
    '--dbPassword',
    'abc',
    '--max-tokens=5',
  ]
  assert.deepEqual(withoutSecrets([...words, '--secret', '--monkey=3', '--key=a=b\nc']), [
    ...['node', 'x.ts', '--api-key=***', '--lr=1', '--token', '***', 'HF_TOKEN=***', '--dbPassword', '***'],
    ...['--max-tokens=5', '--secret', '--monkey=3', '--key=***'],
  ])
})

test("git's state is asked without running what the repository says, and without locks", () => {
  const dir = folder()
  mkdirSync(dir)
  const git = (...args: string[]) => execFileSync('git', args, { cwd: dir, stdio: 'pipe' })
  git('init', '-q')
  const who = ['-c', 'user.name=x', '-c', 'user.email=x@example.com']
  writeFileSync(join(dir, 'a'), '1')
  git('add', 'a')
  git(...who, 'commit', '-qm', 'x')
  writeFileSync(join(dir, 'evil'), '#!/bin/sh\ntouch "$(dirname "$0")/ran"\n', { mode: 0o755 })
  git('config', 'core.fsmonitor', join(dir, 'evil'))
  writeFileSync(join(dir, '.git', 'index.lock'), '')
  const state = gitState(dir)
  assert.equal(state?.uncommittedChanges, false)
  assert.ok(!existsSync(join(dir, 'ran')))
})

test('a resumed run leaves the same files as one that was not interrupted', async () => {
  const train = async (dir: string, saveDir: string, stopAt?: number, resumeFrom?: string) => {
    let steps = 0
    const stop: Callback = {
      onTrainStepStart() {
        if (++steps === stopAt) throw new StopTrainingError('enough')
      },
    }
    const saving = new SaveTrainingStateCallback({ saveDir, saveEveryNSteps: 3, saveAtEnd: false })
    const { trainer } = classifier(
      [new loggers.CSV(join(dir, 'a.csv')), new loggers.JSONL(join(dir, 'a.jsonl'))],
      [saving, stop, everyTwo()],
    )
    await trainer.train({ ...run(), resumeFrom })
    return [read(dir, 'a.csv'), read(dir, 'a.jsonl').replaceAll(/"time":\d+/g, '')]
  }
  const expected = await train(folder(), folder())
  const [dir, saveDir] = [folder(), folder()]
  // Stops after step 8, whose line stands there; goes on from step 6.
  await train(dir, saveDir, 9)
  assert.match(read(dir, 'a.csv'), /^8,2/m)
  assert.deepEqual(await train(dir, saveDir, undefined, saveDir), expected)
})

test('a run that a signal stopped leaves no row at the place where it stopped', async () => {
  const train = async (dir: string, saveDir: string, signalAt?: number, resumeFrom?: string) => {
    const recording: Callback = {
      onTrainBatchEnd({ runHistory, globalStep }) {
        runHistory.updateMetric('seen', globalStep)
        if (globalStep === signalAt) process.kill(process.pid, 'SIGTERM')
      },
    }
    // Gives the signal time to come.
    const waiting: Callback = { onTrainStepStart: () => new Promise(resolve => setTimeout(resolve, 5)) }
    const { trainer } = classifier(
      [new loggers.CSV(join(dir, 'a.csv')), new loggers.JSONL(join(dir, 'a.jsonl'))],
      [new SaveTrainingStateCallback({ saveDir, saveAtEnd: false }), recording, waiting, everyTwo()],
    )
    await trainer.train({ ...run(), resumeFrom })
    return [read(dir, 'a.csv'), read(dir, 'a.jsonl').replaceAll(/"time":\d+/g, '')]
  }
  const expected = await train(folder(), folder())
  const [dir, saveDir] = [folder(), folder()]
  await train(dir, saveDir, 7)
  assert.ok(existsSync(join(saveDir, 'interrupted')))
  assert.deepEqual(await train(dir, saveDir, undefined, saveDir), expected)
})

test('loggers of a run that fails are finished', async () => {
  const calls: string[] = []
  const logger: Logger = {
    start: () => void calls.push('start'),
    logMetrics: () => {},
    logMedia: () => {},
    finish: () => void calls.push('finish'),
  }
  const failing: Callback = {
    onTrainEpochEnd() {
      throw new Error('no')
    },
  }
  await assert.rejects(classifier([logger], [failing]).trainer.train(run()), /no/)
  assert.deepEqual(calls, ['start', 'finish'])
})

test('entries before a run and after it make files and folders; a run keeps those before it', async () => {
  const picture = await loggers.image(tensor([[0, 0.5]]))
  const spread = await loggers.histogram(tensor([1, 2]))
  const dir = folder()
  const lists = () => [
    new loggers.CSV(join(dir, 'csv', 'a.csv')),
    new loggers.JSONL(join(dir, 'jsonl', 'a.jsonl')),
    new loggers.TensorBoard(join(dir, 'board')),
    new loggers.RunDirectory(join(dir, 'run')),
  ]
  const kinds = () =>
    read(dir, 'jsonl', 'a.jsonl')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
      .map(({ kind, metrics }) => kind ?? Object.keys(metrics).join())
  for (const seed of [1, 2]) {
    const { trainer } = classifier(lists())
    await trainer.logger.logMetrics({ [`before_${seed}`]: seed })
    await trainer.logger.logMedia('picture', picture)
    await trainer.logger.logMedia('spread', spread)
    // What an earlier process wrote is there until a run begins.
    assert.deepEqual(kinds().slice(seed === 1 ? 0 : -3), [`before_${seed}`, 'image', 'histogram'])
    assert.equal(kinds().length, seed === 1 ? 3 : 9)
    assert.match(read(dir, 'csv', 'a.csv'), seed === 1 ? /^0,1,1\n$/m : /^5,2,.*,3,\n0,1,,,,,2\n$/m)
    assert.deepEqual(readdirSync(join(dir, 'run', 'media')), ['picture-0.png'])
    if (seed === 1) assert.ok(!existsSync(join(dir, 'run', 'run.json')))
    await trainer.train({ ...run(), numEpochs: 1 })
    assert.deepEqual(kinds(), [`before_${seed}`, 'image', 'histogram', 'train_loss_epoch', 'eval_loss_epoch'])
    assert.match(read(dir, 'csv', 'a.csv'), new RegExp(`^step,epoch,before_${seed},train_loss_epoch,.*\n0,1,${seed}`))
    await trainer.logger.logMetrics({ after: 3 })
    assert.equal(kinds().at(-1), 'after')
    assert.match(read(dir, 'run', 'report.html'), /picture/)
  }
  if (tensorBoard === undefined) return
  const { scalars, images } = readEvents(join(dir, 'board'))
  assert.deepEqual([scalars.before_1, scalars.before_2, scalars.after], [[], [[0, 2]], [[5, 3]]])
  assert.equal(images.picture?.length, 1)
})

// TensorBoard

interface Events {
  scalars: Record<string, [step: number, value: number][]>
  images: Record<string, [step: number, width: number, height: number, png: string][]>
  histograms: Record<string, [step: number, count: number, limits: number[], counts: number[]][]>
}
const tensorBoard = process.env.WICK_TENSORBOARD_PATH
const reader = [new URL('./read_events.py', import.meta.url), new URL('../../test/read_events.py', import.meta.url)]
const readEvents = (dir: string): Events => {
  const script = reader.map(url => fileURLToPath(url)).find(existsSync) ?? ''
  const env = { ...process.env, PYTHONPATH: tensorBoard ?? '' }
  return JSON.parse(
    execFileSync('python3', [script, dir], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  ) as Events
}

test('TensorBoard reads scalars, images and histograms', {
  skip: tensorBoard ? false : 'needs tensorboard, see scripts/tensorboard.mjs',
}, async () => {
  const dir = folder()
  const { trainer, model } = classifier([new loggers.TensorBoard(dir)], [everyTwo()])
  await trainer.train(run())
  await trainer.logger.start({ config: null, device: 'cpu', model: '', step: 10, resumed: true })
  await trainer.logger.logMedia('weight', await loggers.histogram(model.weight, { bins: 4 }))
  const picture = arange(24).to({ dtype: 'uint8' }).mul(10).reshape([3, 2, 4])
  await trainer.logger.logMedia('picture', await loggers.image(picture))
  await trainer.logger.finish()
  const { scalars, images, histograms } = readEvents(dir)
  const { runHistory } = trainer
  const epochs = runHistory.getMetricValues('train_loss_epoch')
  assert.deepEqual(scalars.train_loss_epoch, [
    [5, Math.fround(epochs[0]!)],
    [10, Math.fround(epochs[1]!)],
  ])
  assert.deepEqual(
    scalars.train_loss?.map(([step]) => step),
    [2, 4, 6, 8, 10],
  )
  assert.deepEqual(scalars.lr?.[0], [2, Math.fround(0.1)])
  const [weight] = histograms.weight ?? []
  assert.equal(weight?.[0], 10)
  assert.equal(weight?.[1], 12)
  assert.equal(
    weight?.[3].reduce((a, b) => a + b),
    12,
  )
  const values = Array.from(await model.weight.data(), Number)
  assert.equal(weight?.[2].at(-1), Math.max(...values))
  const [shown] = images.picture ?? []
  assert.deepEqual(shown?.slice(0, 3), [10, 4, 2])
  assert.deepEqual(pixels(Buffer.from(shown?.[3] ?? '', 'hex')), [...(await loggers.image(picture)).pixels])
})

test('TensorBoard passes over what a resumed run repeats', { skip: tensorBoard ? false : 'needs tensorboard' }, () => {
  const dir = folder()
  const board = new loggers.TensorBoard(dir)
  const start = { config: null, device: 'cpu', model: '', step: 0, resumed: false }
  board.start(start)
  for (let step = 1; step <= 4; step++) board.logMetrics({ loss: step }, { step, epoch: 1, time: step })
  board.start({ ...start, step: 2, resumed: true })
  board.logMetrics({ loss: 30 }, { step: 3, epoch: 1, time: 9 })
  board.finish()
  assert.deepEqual(readEvents(dir).scalars.loss, [
    [1, 1],
    [2, 2],
    [3, 30],
  ])
})

/** The pixels of a PNG whose lines aren't filtered. */
function pixels(file: Buffer): number[] {
  const [width, height, channels] = [file.readUInt32BE(16), file.readUInt32BE(20), file[25] === 2 ? 3 : 1]
  const at = file.indexOf('IDAT')
  const lines = inflateSync(file.subarray(at + 4, at + 4 + file.readUInt32BE(at - 4)))
  const stride = width * channels + 1
  return Array.from({ length: height }, (_, y) => [...lines.subarray(y * stride + 1, (y + 1) * stride)]).flat()
}

test('images and histograms', async () => {
  const {
    width,
    height,
    channels,
    pixels: bytes,
  } = await loggers.image(
    tensor([
      [0, 0.5, 1],
      [2, -1, 0.25],
    ]),
  )
  assert.deepEqual([width, height, channels, [...bytes]], [3, 2, 1, [0, 128, 255, 255, 0, 64]])
  const bad = (error: unknown) => error instanceof WickError && error.code === 'BAD_OPTION'
  await assert.rejects(loggers.image(randn([2, 3, 4])), bad)
  const { counts, edges, min, max, count } = await loggers.histogram(tensor([0, 1, 1, 4, Number.NaN]), { bins: 4 })
  assert.deepEqual([counts, edges, min, max, count], [[1, 2, 0, 1], [0, 1, 2, 3, 4], 0, 4, 4])
  assert.deepEqual((await loggers.histogram(tensor([2, 2]), { bins: 2 })).counts, [2, 0])
})

test('RunDirectory: configuration, revision, versions, files and a report that needs no other file', async () => {
  const dir = folder()
  const { trainer, model } = classifier([new loggers.RunDirectory(dir)], [everyTwo()])
  const media: Callback = {
    async onTrainEpochEnd({ logger }) {
      await logger.logMedia('weight/all', await loggers.histogram(model.weight))
      await logger.logMedia('weight/picture', await loggers.image(model.weight))
    },
  }
  trainer.callbackHandler.addCallback(media)
  await trainer.train(run())
  assert.deepEqual(readdirSync(dir).sort(), [
    'media',
    'metrics.csv',
    'metrics.jsonl',
    'report.html',
    'run.json',
    'tensorboard',
  ])
  assert.deepEqual(readdirSync(join(dir, 'media')).sort(), ['weight_picture-10.png', 'weight_picture-5.png'])
  const record = JSON.parse(read(dir, 'run.json'))
  assert.equal(record.config.numEpochs, 2)
  assert.equal(record.versions.wick, JSON.parse(readFileSync('package.json', 'utf8')).version)
  assert.ok(record.versions.bun ?? record.versions.node)
  assert.ok(record.git === null || /^[0-9a-f]{40}$/.test(record.git.revision))
  const report = read(dir, 'report.html')
  // One chart for the losses of both kinds, and none but embedded resources.
  assert.equal(report.match(/<polyline/g)?.length, 4)
  assert.match(report, /<figcaption>loss<\/figcaption>/)
  assert.match(report, /eval_loss_epoch: 1\.\d+/)
  assert.match(report, /<img [^>]*src="data:image\/png;base64,/)
  assert.ok(!/(src|href)="(?!data:)/.test(report) && !/<script/.test(report))
  assert.match(report, /Linear\(in_features=4/)
})

test('a single logger is given as `logger`', async () => {
  const memory = new Memory()
  const model = new nn.Linear(4, 3)
  const optimizer = new optim.SGD(model.parameters())
  const trainer = new Trainer<nn.Linear, [Tensor, Tensor]>({
    model,
    loss: new nn.CrossEntropyLoss(),
    optimizer,
    callbacks: [],
    logger: memory,
  })
  await trainer.train({ trainDataset: dataset(8), numEpochs: 1 })
  assert.deepEqual(memory.calls, ['start 0 false', '1 1 train_loss_epoch', 'finish'])
})
