/** Lets suites that don't say where their tensors are use the GPU: `bun test --preload ./test/gpu/preload.ts …`. */
import { setDefaultDevice } from '../../ts/index.ts'

setDefaultDevice(process.env.WICK_TEST_DEVICE ?? 'cuda')
