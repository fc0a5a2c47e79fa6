/** `WSDCheckpointCallback`: checkpoints before and after each decay of a `WSDLrScheduler`. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { StateRecord } from '../checkpoint/index.ts'
import { badOption, checkOptions } from '../errors.ts'
import { checkForm, isCount, withFields } from '../forms.ts'
import type { WSDLrScheduler } from '../schedulers/index.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Options of `WSDCheckpointCallback`. */
export interface WSDCheckpointOptions {
  /** Default 'checkpoints'. */
  saveDir?: string | undefined
  /** Whether checkpoints after a decay hold the optimizer. Default true. */
  saveOptimizer?: boolean | undefined
  /** Whether they hold the scheduler. Default true. */
  saveScheduler?: boolean | undefined
  /** What the run goes on from: a folder is a training state, a file a checkpoint. One that isn't there is left out. */
  initialCheckpoint?: string | undefined
}

/** What the scheduler has to tell. */
type Phases = Pick<WSDLrScheduler, 'getCheckpointSteps' | 'getPhaseInfo' | 'getCurrentStep' | 'decayPhaseRatio'>

const isState = withFields({ step: isCount })

/**
 * Saves the training state `checkpoint_N_wsd_pre_decay` before each decay, from which training goes on as if there had been none
 * (WSD), and the checkpoint `checkpoint_N_wsd_post_decay.safetensors` after it. N counts updates.
 */
export class WSDCheckpointCallback implements Callback {
  /** Left out of a fast development run. */
  readonly writesFiles = true
  readonly saveDir: string
  readonly #saveOptimizer: boolean
  readonly #saveScheduler: boolean
  readonly #initial: string | undefined
  /** Updates at the last look. */
  #step = 0

  constructor(options: WSDCheckpointOptions = {}) {
    const names = ['saveDir', 'saveOptimizer', 'saveScheduler', 'initialCheckpoint']
    checkOptions('WSDCheckpointCallback', options, names)
    this.saveDir = options.saveDir ?? 'checkpoints'
    this.#saveOptimizer = options.saveOptimizer ?? true
    this.#saveScheduler = options.saveScheduler ?? true
    this.#initial = options.initialCheckpoint
  }

  async onTrainingRunStart(trainer: AnyTrainer): Promise<void> {
    const phases = phasesOf(trainer)
    if (this.#initial !== undefined) await this.#load(trainer, this.#initial)
    this.#step = phases.getCurrentStep()
  }

  async #load(trainer: AnyTrainer, path: string): Promise<void> {
    const found = await stat(path).catch(() => null)
    if (!found) return
    trainer.print(`\nLoading checkpoint from ${path}`)
    const isState = found.isDirectory()
    const { extra } = isState ? await trainer.loadTrainingState(path) : await trainer.loadCheckpoint(path)
    const { checkpoint_type = isState ? 'wsd_pre_decay' : 'wsd_post_decay', step } = extra
    trainer.print(`Loaded ${checkpoint_type} ${isState ? 'training state' : 'checkpoint'} from step ${step}`)
  }

  onTrainBatchEnd(trainer: AnyTrainer): Promise<void> | void {
    const step = phasesOf(trainer).getCurrentStep()
    if (step === this.#step) return undefined
    this.#step = step
    const { preDecayStep, periodEnd } = phasesOf(trainer).getPhaseInfo(step)
    if (step === preDecayStep || step === periodEnd) return this.#save(trainer, step, preDecayStep, periodEnd)
  }

  async #save(trainer: AnyTrainer, step: number, preDecayStep: number, periodEnd: number): Promise<void> {
    const extra = {
      step,
      total_steps: trainer.runConfig?.maxNumTrainSteps ?? 0,
      decay_fraction: phasesOf(trainer).decayPhaseRatio,
      timestamp: new Date().toISOString(),
    }
    if (step === preDecayStep) {
      trainer.print(`\nWSD Lr Scheduler entering decay phase at step ${step}`)
      const dir = join(this.saveDir, `checkpoint_${step}_wsd_pre_decay`)
      await trainer.saveTrainingState(dir, { extra: { ...extra, checkpoint_type: 'wsd_pre_decay' } })
      trainer.print(`\nSaved wsd_pre_decay training state at step ${step}`)
    }
    if (step !== periodEnd) return
    await trainer.saveCheckpoint(join(this.saveDir, `checkpoint_${step}_wsd_post_decay.safetensors`), {
      saveOptimizer: this.#saveOptimizer,
      saveScheduler: this.#saveScheduler,
      extra: { ...extra, checkpoint_type: 'wsd_post_decay' },
    })
    trainer.print(`\nSaved wsd_post_decay checkpoint at step ${step}`)
  }

  /** The updates at the last look. */
  stateDict(): StateRecord {
    return { step: this.#step }
  }

  /** Goes on from a state. */
  loadStateDict(state: StateRecord): void {
    checkForm(this, state, isState)
    this.#step = state.step
  }

  /** Throws what `loadStateDict` would, and changes nothing. */
  checkStateDict(state: unknown): void {
    checkForm(this, state, isState)
  }
}

function phasesOf({ scheduler }: AnyTrainer): Phases {
  const names = ['getCheckpointSteps', 'getPhaseInfo', 'getCurrentStep'] as const
  const fits = scheduler !== null && names.every(name => typeof Reflect.get(scheduler, name) === 'function')
  if (fits) return scheduler as Phases
  throw badOption('WSDCheckpointCallback', 'the scheduler has no getCheckpointSteps(): is it a WSDLrScheduler?')
}
