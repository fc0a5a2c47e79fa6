/** The examples, with a few batches of each epoch. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Where the examples write what they keep. */
const folder = mkdtempSync(join(tmpdir(), 'wick-examples-'))
after(() => rmSync(folder, { recursive: true }))
const extension = extname(fileURLToPath(import.meta.url))
const run = async (name: string, batches: number, ...args: string[]) => {
  const path = fileURLToPath(new URL(`../examples/${name}${extension}`, import.meta.url))
  assert.ok(readFileSync(path, 'utf8').split('\n').length < 120 || extension !== '.ts', 'an example is short')
  const env = { ...process.env, WICK_LIMIT_BATCHES: String(batches), TMPDIR: folder }
  const { stdout } = await promisify(execFile)(process.execPath, [path, ...args], { env })
  return stdout
}
const valuesOf = (stdout: string, name: string) =>
  [...stdout.matchAll(new RegExp(`^${name}: ([\\d.]+)$`, 'gm'))].map(match => Number(match[1]))

for (const name of ['metrics-in-callback', 'metrics-in-steps']) {
  test(`examples/${name}.ts prints metrics of each evaluation`, async () => {
    const stdout = await run(name, 300)
    for (const metric of ['accuracy', 'precision', 'recall']) {
      const values = valuesOf(stdout, metric)
      assert.equal(values.length, 2, stdout)
      assert.ok(values[1]! > 0.8, `${metric}: ${values.join(', ')}`)
    }
  })
}

test('examples/custom-event.ts verifies each batch', async () => {
  const stdout = await run('custom-event', 5)
  assert.deepEqual(
    [...stdout.matchAll(/Verified (\d+) batches/g)].map(match => Number(match[1])),
    [5, 10, 15, 20, 25, 30, 35, 40],
  )
})

test('examples/finetune.ts learns new digits in two phases', async () => {
  const losses = valuesOf(await run('finetune', 40), 'eval_loss_epoch')
  assert.equal(losses.length, 4)
  assert.ok(losses[3]! < losses[1]!, losses.join(', '))
})

test('examples/gan.ts trains two models', async () => {
  const stdout = await run('gan', 10, '--epochs', '2')
  assert.equal(valuesOf(stdout, 'train_loss_epoch').length, 2)
  assert.match(stdout, /64 images with a mean of 0\.\d+/)
})

test('examples/step-schedule.ts goes on from a file of weights', async () => {
  const stdout = await run('step-schedule', 60)
  assert.ok(!readdirSync(folder).some(name => name.startsWith('wick-digits-')), 'its file of weights is gone')
  const rates = valuesOf(stdout, 'lr')
  assert.deepEqual(rates.slice(0, 6), Array(6).fill(0.001))
  assert.ok(Math.abs(rates[7]! - 0.0001) < 1e-9, `the last rate is ${rates[7]}`)
  const losses = valuesOf(stdout, 'eval_loss_epoch')
  assert.equal(losses.length, 8)
  assert.ok(losses[7]! < 0.35, losses.join(', '))
})

test('examples/progressive-resizing.ts trains on images of three sizes', async () => {
  const stdout = await run('progressive-resizing', 8)
  assert.deepEqual(
    [...stdout.matchAll(/^Images of (\d+) pixels$/gm)].map(match => Number(match[1])),
    [7, 14, 28],
  )
  assert.equal([...stdout.matchAll(/^Loading checkpoint with accuracy: 0\.\d+ from epoch \d$/gm)].length, 3)
})

test('examples/two-losses.ts smooths labels in training only', async () => {
  const stdout = await run('two-losses', 60)
  const [train, evaluated] = ['train_loss_epoch', 'eval_loss_epoch'].map(name => valuesOf(stdout, name))
  assert.equal(evaluated!.length, 10)
  assert.ok(evaluated![9]! < train![9]! && evaluated![9]! < 0.6, stdout)
  assert.equal(valuesOf(stdout, 'lr_group_1').length, 10)
})

test('examples/mixup-ema.ts evaluates the average beside the model', async () => {
  const stdout = await run('mixup-ema', 60)
  for (const metric of ['accuracy', 'ema_model_accuracy']) {
    const values = valuesOf(stdout, metric)
    assert.equal(values.length, 5)
    assert.ok(values[4]! > 0.7, `${metric}: ${values.join(', ')}`)
  }
})

test('examples/detection.ts finds digits and shows its four losses', async () => {
  const stdout = await run('detection', 30)
  for (const name of ['presence', 'center', 'size', 'digit']) {
    for (const phase of ['train', 'eval']) assert.equal(valuesOf(stdout, `${phase}_${name}_loss`).length, 10)
  }
  const values = valuesOf(stdout, 'map50')
  assert.equal(values.length, 10)
  assert.ok(values[9]! > 0.5, values.join(', '))
})

test('examples/text.ts fine-tunes a transformer on padded batches that are objects', async () => {
  const values = valuesOf(await run('text', 200), 'accuracy')
  assert.equal(values.length, 11)
  assert.ok(values[2]! > 0.98 && values[10]! > values[3]! && values[10]! > 0.85, values.join(', '))
})
