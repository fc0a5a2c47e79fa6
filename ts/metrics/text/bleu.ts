/** `BLEU`: how many runs of words a translation shares with its references. */
import { checkCount } from '../../data/sampler.ts'
import { badOption, checkOptions } from '../../errors.ts'
import { tensor } from '../../tensor/index.ts'
import { Metric, total } from '../metric.ts'
import { countAll, countNgrams, countShared } from './ngrams.ts'

/** Options of `BLEU`. */
export interface BLEUOptions {
  /** The longest runs. Default 4. */
  nGram?: number | undefined
  /** Whether to add one to the counts of runs longer than 1. Default false. */
  smooth?: boolean | undefined
  /** Weight of each length. Default: equal. */
  weights?: readonly number[] | undefined
}

/** Corpus BLEU of predictions, each with one or more references; words are what is between spaces. */
export class BLEU extends Metric<[preds: readonly string[], target: readonly (string | readonly string[])[]], number> {
  readonly #nGram: number
  readonly #smooth: boolean
  readonly #weights: readonly number[]

  constructor(options: BLEUOptions = {}) {
    super(options)
    checkOptions('BLEU', options, ['nGram', 'smooth', 'weights'])
    const n = checkCount(options.nGram ?? 4, 'nGram', 'BLEU')
    this.#nGram = n
    this.#smooth = options.smooth ?? false
    this.#weights = options.weights ?? new Array<number>(n).fill(1 / n)
    if (this.#weights.length !== n) throw badOption('BLEU', `${this.#weights.length} weights for runs up to ${n}`)
    this.addSum('matches', [n])
    this.addSum('runs', [n])
    this.addSum('predsLength', [])
    this.addSum('targetLength', [])
  }

  protected accumulate(preds: readonly string[], target: readonly (string | readonly string[])[]): void {
    if (preds.length !== target.length) {
      throw badOption('BLEU', `${preds.length} predictions, but ${target.length} targets`)
    }
    const matches = new Array<number>(this.#nGram).fill(0)
    const runs = new Array<number>(this.#nGram).fill(0)
    for (const [i, pred] of preds.entries()) {
      const words = split(pred)
      const references = (typeof target[i] === 'string' ? [target[i]] : target[i]!).map(split)
      const distances = references.map(reference => Math.abs(reference.length - words.length))
      this.sum('predsLength').add_(words.length)
      this.sum('targetLength').add_(references[distances.indexOf(Math.min(...distances))]?.length ?? 0)
      for (let n = 1; n <= this.#nGram; n++) {
        const found = countNgrams(words, n)
        const most = new Map<string, number>()
        for (const reference of references) {
          for (const [key, count] of countNgrams(reference, n)) most.set(key, Math.max(count, most.get(key) ?? 0))
        }
        matches[n - 1]! += countShared(found, most)
        runs[n - 1]! += countAll(found)
      }
    }
    this.sum('matches').add_(tensor(matches, { dtype: 'float64' }).to(this.sum('matches').device))
    this.sum('runs').add_(tensor(runs, { dtype: 'float64' }).to(this.sum('runs').device))
  }

  async compute(): Promise<number> {
    const states = ['matches', 'runs', 'predsLength', 'targetLength'].map(name => this.read(name))
    const [matches = [], runs = [], [predsLength = 0] = [], [targetLength = 0] = []] = await Promise.all(states)
    if (matches.some(count => count === 0)) return 0
    const more = (i: number) => (this.#smooth && i > 0 ? 1 : 0)
    const logs = matches.map((count, i) => this.#weights[i]! * Math.log((count + more(i)) / (runs[i]! + more(i))))
    const brevity = predsLength > targetLength ? 1 : Math.exp(1 - targetLength / predsLength)
    return brevity * Math.exp(total(logs))
  }
}

function split(text: string): string[] {
  return text.split(/\s+/).filter(word => word !== '')
}
