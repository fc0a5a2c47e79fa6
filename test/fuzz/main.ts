/** `fuzz FIRST_SEED COUNT [MUTANT]`: prints the programs whose planned run differs from eager, and a summary. */
import { compare, emptyTotals } from './run.ts'

const [first = 1, count = 2000, mutant = 0] = process.argv.slice(2).map(Number)
const totals = emptyTotals()
let differ = 0
for (let seed = first; seed < first + count; seed++) {
  const d = compare(seed, mutant, totals)
  if (!d) continue
  differ++
  if (mutant) {
    console.log(`mutant ${mutant}: caught by ${d.text.split('\n')[0]}`)
    process.exit(0)
  }
  if (differ <= 5) console.log(d.text)
}
const { matched, diverged, switched, cuts, threw } = totals
console.log(
  `${count} programs: ${differ} differ. matched ${matched}, diverged ${diverged}, switched ${switched}, cuts ${cuts}, exceptions ${threw}`,
)
process.exit(differ ? 1 : 0)
