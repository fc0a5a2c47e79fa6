/**
 * `fuzz steps|networks|trainers|tasks FIRST_SEED COUNT [MUTANT]`: prints the programs whose run from plans, or beside others,
 * differs, and a summary.
 */
import { compareNetwork } from './networks.ts'
import { compare, emptyTotals } from './run.ts'
import type { Compare } from './shared.ts'
import { compareTasks } from './tasks.ts'
import { compareTrainer } from './trainers.ts'

const totals = emptyTotals()
const kinds: Record<string, Compare> = {
  steps: async (seed, mutant) => compare(seed, mutant, totals)?.text ?? null,
  networks: compareNetwork,
  trainers: compareTrainer,
  tasks: compareTasks,
}
const [kind = '', ...numbers] = process.argv.slice(2)
const [first = 1, count = 2000, mutant = 0] = numbers.map(Number)
const program = kinds[kind]
if (!program) throw new Error(`the kind of program must be one of ${Object.keys(kinds).join(', ')}, not '${kind}'`)
let differ = 0
for (let seed = first; seed < first + count; seed++) {
  const text = await program(seed, mutant)
  if (text === null) continue
  differ++
  if (mutant) {
    console.log(`mutant ${mutant}: caught by ${text.split('\n')[0]}`)
    process.exit(0)
  }
  if (differ <= 5) console.log(text)
}
const reached = kind === 'steps' ? ` ${JSON.stringify(totals)}` : ''
console.log(`${count} programs: ${differ} differ.${reached}`)
process.exit(differ ? 1 : 0)
