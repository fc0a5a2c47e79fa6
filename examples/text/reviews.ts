// Reviews of films in a few words: each sentence praises or blames, some of them negated, and what prevails is the label.
import { randint, type Tensor, tensor } from 'wick-ml'

const things = ['plot', 'cast', 'music', 'ending', 'picture']
const opinions = [
  ['dull', 'silly', 'poor', 'tedious'],
  ['great', 'moving', 'clever', 'funny'],
] as const
export const vocabulary = [...things, ...opinions.flat(), 'the', 'is', 'not', 'and']
const pick = <T>(list: readonly T[]) => list[Number(randint(0, list.length, [1]).itemSync())]!

/** Words by their number, from 1; 0 fills up. */
export type Review = { inputIds: number[]; label: number }

export function review(lengths: readonly number[]): Review {
  const clauses = Array.from({ length: pick(lengths) }, () => ({ negated: pick([0, 1]), opinion: pick([0, 1]) }))
  const words = clauses.flatMap(({ negated, opinion }, i) => [
    ...(i > 0 ? ['and'] : []),
    ...['the', pick(things), 'is', ...(negated ? ['not'] : []), pick(opinions[opinion]!)],
  ])
  const praise = clauses.filter(({ negated, opinion }) => negated !== opinion).length
  return { inputIds: words.map(word => vocabulary.indexOf(word) + 1), label: Number(praise > clauses.length / 2) }
}

export type Batch = { inputIds: Tensor; attentionMask: Tensor; labels: Tensor }

/** As long as the longest review of the batch. */
export function collate(reviews: Review[]): Batch {
  const length = Math.max(...reviews.map(({ inputIds }) => inputIds.length))
  const inputIds = tensor(reviews.map(review => Array.from({ length }, (_, i) => review.inputIds[i] ?? 0)))
  return { inputIds, attentionMask: inputIds.ne(0), labels: tensor(reviews.map(({ label }) => label)) }
}
