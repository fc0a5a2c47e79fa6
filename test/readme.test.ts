import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

test('the README shows the MNIST example as it is', () => {
  const example = readFileSync('examples/mnist.ts', 'utf8')
  const blocks = [...readFileSync('README.md', 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(match => match[1])
  assert.ok(blocks.includes(example), 'no ```ts block of README.md equals examples/mnist.ts')
  assert.ok(example.trimEnd().split('\n').length < 40, 'the example is longer than 40 lines')
})
