/**
 * `npm run bench -- images --torch PYTHON`: how fast JPEGs become batches of 224 x 224, in wick and in torchvision, in turn, and which
 * share of its time a training loop waits for them. The arguments are in `usage`; `load FOLDER THREADS` is wick's side, a process of its own.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { data } from '../ts/index.ts'
import { Contestant } from './contestant.ts'

const usage = `npm run bench -- images --torch PYTHON [options]
  --torch PYTHON   a Python with torch, torchvision and Pillow
  --count N        images (default: 512)
  --threads N      decoding threads, and torchvision's workers (default: 2)
  --repeats N      rounds of each; the median counts (default: 3)`

/** Passes over the images of a folder, on request. */
async function load(folder: string, threads: number): Promise<void> {
  const { compose, normalize, randomHorizontalFlip, randomResizedCrop, toTensor } = data.transforms
  const statistics = normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
  const transform = compose(randomResizedCrop(224), randomHorizontalFlip(), toTensor(), statistics)
  const dataset = new data.ImageFolder(folder, { transform })
  const loader = new data.DataLoader(dataset, { batchSize: 64, shuffle: true, numWorkers: threads })

  /**
   * Seconds of a pass, and the share of those after its first batch in which it waited, with a step of `stepMs` that leaves the cores alone,
   * as a GPU's does.
   */
  const pass = async (stepMs: number) => {
    const start = performance.now()
    let [waited, first] = [0, 0]
    const reader = loader.open()
    for (;;) {
      const asked = performance.now()
      const more = await reader.next()
      // Nothing was asked for ahead of a pass's first batch.
      if (first === 0) first = performance.now()
      else waited += performance.now() - asked
      if (!more) break
      for (const x of await reader.take()) x.dispose()
      if (stepMs > 0) await sleep(stepMs)
    }
    reader.close()
    const end = performance.now()
    return { seconds: (end - start) / 1000, waitShare: waited / (end - first) }
  }
  const say = (message: object) => console.log(`\n@bench ${JSON.stringify(message)}`)
  say({ version: process.versions.bun ? `bun ${process.versions.bun}` : `node ${process.versions.node}` })
  for await (const line of createInterface({ input: process.stdin })) {
    const { seconds } = await pass(0)
    if (line === 'warm') {
      say({})
      continue
    }
    const stepMs = (seconds / loader.length) * 1000
    // A step a quarter longer than a batch takes to decode.
    const { waitShare } = await pass(stepMs * 1.25)
    say({ stepMs, perSecond: dataset.length / seconds, waitShare })
  }
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

async function compare(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      torch: { type: 'string' },
      count: { type: 'string', default: '512' },
      threads: { type: 'string', default: '2' },
      repeats: { type: 'string', default: '3' },
    },
  })
  if (values.torch === undefined) throw new Error(`--torch is missing\n\n${usage}`)
  const twin = join(import.meta.dirname, 'torch_images.py')
  const folder = mkdtempSync(join(tmpdir(), 'wick-bench-images-'))
  const contestants: Contestant[] = []
  try {
    execFileSync(values.torch, [twin, 'make', folder, values.count])
    const wick = new Contestant('wick', process.execPath, [import.meta.filename, 'load', folder, values.threads], 600)
    const torch = new Contestant('torch', values.torch, [twin, 'load', folder, values.threads], 600)
    contestants.push(wick, torch)
    await Promise.all(contestants.map(contestant => contestant.load()))
    for (const contestant of contestants) await contestant.warm()
    for (let round = 0; round < Number(values.repeats); round++) {
      for (const contestant of contestants) await contestant.run()
    }
    const failed = contestants.find(contestant => contestant.failure !== undefined)
    if (failed) throw new Error(`${failed.name}: ${failed.failure}`)
    const [ours, theirs] = [wick, torch].map(({ rounds }) => median(rounds.map(round => round.perSecond)))
    const result = {
      job: 'images',
      threads: Number(values.threads),
      unit: 'images/s',
      runtime: wick.introduction.version,
      value: ours,
      waitShare: median(wick.rounds.map(round => round.waitShare ?? Number.NaN)),
      torch: theirs,
      torchVersion: torch.introduction.version,
      ratio: (ours ?? Number.NaN) / (theirs ?? Number.NaN),
      load: loadavg()[0],
    }
    console.log(JSON.stringify(result))
  } finally {
    await Promise.all(contestants.map(contestant => contestant.stop()))
    rmSync(folder, { recursive: true })
  }
}

const [command, ...rest] = process.argv.slice(2)
if (command === 'load') await load(rest[0] ?? '', Number(rest[1]))
else await compare(process.argv.slice(2))
