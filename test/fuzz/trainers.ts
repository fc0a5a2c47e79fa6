/** Random Trainer programs: `capture: 'auto'` is `'off'` always, `'full'` where the steps are pure, bit for bit. */
import type { CaptureMode } from '../../ts/index.ts'
import { asyncScope, manualSeed } from '../../ts/tensor/index.ts'
import { Choices, type Compare, debugged, difference, type Pending, Trace } from './shared.ts'
import { type TrainerProgram, TrainerRun, trainerProgram } from './trainer-programs.ts'

const pending: Pending = {}

async function run(program: TrainerProgram, mode: CaptureMode): Promise<Trace> {
  const trace = new Trace()
  manualSeed(7)
  await asyncScope(() => new TrainerRun(program, mode, trace, new Choices(program.number)).train())
  return trace
}

/** How one program runs from plans: in mode `auto`, and `full` where its steps are pure. */
export const compareTrainer: Compare = async (seed, mutant) => {
  const program = () => trainerProgram(seed, pending)
  const p = program()
  const { noFusion, copySlots } = p
  const eager = await debugged({ noFusion }, () => run(p, 'off'))
  for (const mode of ['auto', ...(p.pure && !('full' in pending) ? (['full'] as const) : [])] as const) {
    const found = await debugged({ noFusion, copySlots, mutant }, () => run(program(), mode))
    const text = difference(`Trainer ${seed}, ${mode}`, eager, found, p.names)
    if (text) return text
  }
  return null
}
