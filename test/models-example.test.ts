import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { extname } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const extension = extname(fileURLToPath(import.meta.url))
const example = fileURLToPath(new URL(`../examples/cifar${extension}`, import.meta.url))
const run = (...args: string[]) => promisify(execFile)(process.execPath, [example, ...args])

test('examples/cifar.ts learns the images that it makes', async () => {
  const { stdout } = await run('--width', '8', '--limit', '20', '--batch-size', '32', '--epochs', '3')
  const accuracies = [...stdout.matchAll(/eval_accuracy: ([\d.]+)/g)].map(match => Number(match[1]))
  assert.equal(accuracies.length, 3)
  assert.ok(accuracies[2]! > 0.8, `accuracies are ${accuracies.join(', ')}`)
})

test('examples/cifar.ts says what is wrong with its options', async () => {
  await assert.rejects(run('--limit', '1', '--model', 'resnet17'), /unknown model 'resnet17'; did you mean 'resnet18'/)
  await assert.rejects(run('--limit', '1', '--precision', 'fp8'), /fp8/)
})
