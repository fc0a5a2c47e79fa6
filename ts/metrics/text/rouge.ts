/** `ROUGE`: what a summary shares with its references. */
import { badOption, checkOptions } from '../../errors.ts'
import { tensor } from '../../tensor/index.ts'
import { Metric } from '../metric.ts'
import { countAll, countNgrams, countShared } from './ngrams.ts'

/** A kind of ROUGE: runs of words, the longest common subsequence, or that of lines. */
export type RougeKey = `rouge${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 'L' | 'Lsum'}`

/** Options of `ROUGE`. */
export interface ROUGEOptions<Key extends RougeKey> {
  /** Default `['rouge1', 'rouge2', 'rougeL', 'rougeLsum']`. */
  rougeKeys?: readonly Key[] | undefined
  /** Of several references the best one (default) or their mean. */
  accumulate?: 'best' | 'avg' | undefined
}

/** Precision, recall and F-measure by the names `rouge1Precision` and so on. */
export type ROUGEScores<Key extends RougeKey> = Record<`${Key}${'Precision' | 'Recall' | 'Fmeasure'}`, number>

type DefaultKey = 'rouge1' | 'rouge2' | 'rougeL' | 'rougeLsum'
const measures = ['Precision', 'Recall', 'Fmeasure'] as const
type Score = readonly [precision: number, recall: number, fmeasure: number]
/** A text's words, and those of each line. */
interface Text {
  words: readonly string[]
  lines: readonly (readonly string[])[]
}

/**
 * Means over all texts. Words are runs of `a-z` and `0-9` in lower case; `rougeLsum` takes each line as a sentence, as the
 * original does.
 */
export class ROUGE<const Key extends RougeKey = DefaultKey> extends Metric<
  [preds: readonly string[], target: readonly (string | readonly string[])[]],
  ROUGEScores<Key>
> {
  readonly #keys: readonly RougeKey[]
  readonly #best: boolean

  constructor(options: ROUGEOptions<Key> = {}) {
    super(options)
    checkOptions('ROUGE', options, ['rougeKeys', 'accumulate'])
    const { rougeKeys = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum'], accumulate = 'best' } = options
    for (const key of rougeKeys) {
      if (!/^rouge([1-9]|L|Lsum)$/.test(key)) throw badOption('ROUGE', `unknown key '${key}'`)
    }
    if (accumulate !== 'best' && accumulate !== 'avg') {
      throw badOption('ROUGE', `accumulate must be 'best' or 'avg', not '${String(accumulate)}'`)
    }
    this.#keys = rougeKeys
    this.#best = accumulate === 'best'
    for (const key of rougeKeys) this.addSum(key, [3])
    this.addSum('count', [])
  }

  protected accumulate(preds: readonly string[], target: readonly (string | readonly string[])[]): void {
    if (preds.length !== target.length) {
      throw badOption('ROUGE', `${preds.length} predictions, but ${target.length} targets`)
    }
    for (const key of this.#keys) {
      const sum = [0, 0, 0]
      for (const [i, text] of preds.entries()) {
        const references = (typeof target[i] === 'string' ? [target[i]] : target[i]!).map(parse)
        const scores = references.map(reference => scoreOf(key, parse(text), reference))
        const picked = this.#best ? best(scores) : mean(scores)
        for (const [k, value] of picked.entries()) sum[k]! += value
      }
      this.sum(key).add_(tensor(sum, { dtype: 'float64' }).to(this.sum(key).device))
    }
    this.sum('count').add_(preds.length)
  }

  async compute(): Promise<ROUGEScores<Key>> {
    const [count = 0] = await this.read('count')
    const entries = await Promise.all(
      this.#keys.map(async key => {
        const sums = await this.read(key)
        return measures.map((measure, k) => [`${key}${measure}`, sums[k]! / count] as const)
      }),
    )
    return Object.fromEntries(entries.flat()) as ROUGEScores<Key>
  }
}

function parse(text: string): Text {
  return {
    words: wordsOf(text),
    lines: text
      .split('\n')
      .map(wordsOf)
      .filter(line => line.length > 0),
  }
}

function wordsOf(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(word => word !== '')
}

function best(scores: readonly Score[]): Score {
  return scores.reduce((a, b) => (b[2] > a[2] ? b : a))
}

function mean(scores: readonly Score[]): number[] {
  return [0, 1, 2].map(k => scores.reduce((sum, score) => sum + score[k]!, 0) / scores.length)
}

function scoreOf(key: RougeKey, pred: Text, target: Text): Score {
  if (key === 'rougeL')
    return measured(longestCommon(pred.words, target.words).length, pred.words.length, target.words.length)
  if (key === 'rougeLsum') return summaryScore(pred, target)
  const n = Number(key.slice(5))
  const [found, wanted] = [countNgrams(pred.words, n), countNgrams(target.words, n)]
  return measured(countShared(found, wanted), countAll(found), countAll(wanted))
}

function measured(hits: number, found: number, wanted: number): Score {
  if (found === 0 || wanted === 0 || hits === 0) return [0, 0, 0]
  const [precision, recall] = [hits / found, hits / wanted]
  return [precision, recall, (2 * precision * recall) / (precision + recall)]
}

/** Positions in `wanted` of a longest common subsequence. */
function longestCommon(found: readonly string[], wanted: readonly string[]): number[] {
  const table = Array.from({ length: wanted.length + 1 }, () => new Array<number>(found.length + 1).fill(0))
  for (let i = 1; i <= wanted.length; i++) {
    for (let j = 1; j <= found.length; j++) {
      table[i]![j] =
        wanted[i - 1] === found[j - 1] ? table[i - 1]![j - 1]! + 1 : Math.max(table[i - 1]![j]!, table[i]![j - 1]!)
    }
  }
  const positions: number[] = []
  let [i, j] = [wanted.length, found.length]
  while (i > 0 && j > 0) {
    if (wanted[i - 1] === found[j - 1]) {
      positions.unshift(i - 1)
      i--
      j--
    } else if (table[i]![j - 1]! > table[i - 1]![j]!) j--
    else i--
  }
  return positions
}

/** Words of each wanted line that are in a common subsequence with any found line, each word as often as it occurs. */
function summaryScore(pred: Text, target: Text): Score {
  const all = (lines: Text['lines']) => lines.reduce((n, line) => n + line.length, 0)
  const left = [countNgrams(pred.lines.flat(), 1), countNgrams(target.lines.flat(), 1)]
  let hits = 0
  for (const line of target.lines) {
    const positions = new Set(pred.lines.flatMap(found => longestCommon(found, line)))
    for (const position of [...positions].sort((a, b) => a - b)) {
      const key = JSON.stringify([line[position]])
      if (left.some(counts => (counts.get(key) ?? 0) === 0)) continue
      for (const counts of left) counts.set(key, counts.get(key)! - 1)
      hits++
    }
  }
  return measured(hits, all(pred.lines), all(target.lines))
}
