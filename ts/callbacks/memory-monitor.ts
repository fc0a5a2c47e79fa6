/** `MemoryMonitorCallback`: what tensors take. */
import { type Device, memory } from '../tensor/index.ts'
import type { AnyTrainer, Callback } from './callback.ts'

/** Records `memory_bytes`, `memory_peak_bytes` (of the trainer's device) and `memory_tensors` at the end of each epoch. */
export class MemoryMonitorCallback implements Callback {
  onTrainEpochEnd({ runHistory, device }: AnyTrainer): void {
    const { tensors, bytes, peakBytes } = memory({ device: device as Device })
    runHistory.updateMetric('memory_bytes', bytes)
    runHistory.updateMetric('memory_peak_bytes', peakBytes)
    runHistory.updateMetric('memory_tensors', tensors)
  }
}
