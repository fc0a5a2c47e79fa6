/** `randomSplit`: cuts a dataset into random parts. */
import { badOption, checkOptions } from '../errors.ts'
import type { Generator } from '../tensor/index.ts'
import { checkDataset, type Dataset, Subset } from './dataset.ts'
import { permutation } from './permutation.ts'

/**
 * Non-overlapping random parts of `dataset`. `parts` are lengths that add up to the dataset's, or fractions that add up to 1:
 * then each part gets `floor(length * fraction)` items and what is left goes to the parts in turn, from the first.
 *
 * ```ts
 * const [train, validation] = data.randomSplit(dataset, [0.9, 0.1], { generator: new Generator(0) })
 * ```
 */
export function randomSplit<Item, const Parts extends readonly number[]>(
  dataset: Dataset<Item>,
  parts: Parts,
  options: { generator?: Generator | undefined } = {},
): { -readonly [K in keyof Parts]: Subset<Item> } {
  checkOptions('randomSplit', options, ['generator'])
  checkDataset(dataset, 'randomSplit')
  const lengths = partLengths(dataset.length, parts)
  const order = permutation(dataset.length, options.generator)
  let start = 0
  const subsets = lengths.map(length => {
    const indices = order.subarray(start, start + length)
    start += length
    return new Subset(dataset, indices)
  })
  return subsets as { -readonly [K in keyof Parts]: Subset<Item> }
}

function partLengths(total: number, parts: readonly number[]): number[] {
  const sum = parts.reduce((a, b) => a + b, 0)
  if (parts.length === 0 || parts.some(p => !(p >= 0))) {
    throw badOption('randomSplit', `parts must be numbers of at least 0, not [${parts.join(', ')}]`)
  }
  if (parts.every(Number.isInteger) && sum === total) return [...parts]
  if (Math.abs(sum - 1) > 1e-6) {
    throw badOption(
      'randomSplit',
      `[${parts.join(', ')}] adds up to ${sum}; lengths must add up to the dataset's ${total}, fractions to 1`,
    )
  }
  const lengths = parts.map(p => Math.floor(total * p))
  const left = total - lengths.reduce((a, b) => a + b, 0)
  return lengths.map((length, i) => length + (i < left ? 1 : 0))
}
