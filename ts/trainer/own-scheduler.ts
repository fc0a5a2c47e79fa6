/** Runs whose scheduler is theirs, whatever a subclass would make. */
import type { TrainableScheduler } from './types.ts'

/** Calls `run` while `trainer.createScheduler` is `make`; runs in it have to give a `createScheduler` option, so that it is called. */
export async function withScheduler(
  trainer: object,
  make: () => TrainableScheduler,
  run: () => Promise<void>,
): Promise<void> {
  const own = Object.getOwnPropertyDescriptor(trainer, 'createScheduler')
  Object.defineProperty(trainer, 'createScheduler', { value: make, configurable: true })
  try {
    await run()
  } finally {
    Reflect.deleteProperty(trainer, 'createScheduler')
    if (own) Object.defineProperty(trainer, 'createScheduler', own)
  }
}
