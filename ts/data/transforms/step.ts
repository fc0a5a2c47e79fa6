/**
 * Transforms with two uses: with a tensor first they apply, without it they make a step of `compose`. A step also knows how the native
 * image code names it, so that an `ImageFolder` can run it on the decoding threads.
 */
import { badOption, WickError } from '../../errors.ts'
import { native } from '../../native/index.ts'
import { cat, fromTypedArray, Tensor } from '../../tensor/index.ts'
import { uniform } from '../permutation.ts'
import { imageSizes, type Randomness } from './image.ts'

/** A step as the native image code knows it (`crates/images/src/step.rs`). */
export interface NativeStep {
  readonly name: string
  readonly numbers: readonly number[]
}

/** A transform of image tensors that the native image code can run too. */
export interface ImageStep {
  /** Applies it; a random one draws from the context's generator, or from the global one. */
  (x: Tensor, context?: Randomness): Tensor
  /** What it is natively; null if there is no such thing. */
  readonly native: readonly NativeStep[] | null
}

/** A transform that applies if its first argument is a tensor, and makes a step otherwise. A step takes no `generator`: it draws from its item's. */
export interface TwoUses<Args extends readonly unknown[]> {
  (x: Tensor, ...args: Args): Tensor
  (...args: Args): ImageStep
}

/** A step of native steps, which `run` does on tensors. */
export function imageStep(
  steps: readonly NativeStep[] | null,
  run: (x: Tensor, context: Randomness) => Tensor,
): ImageStep {
  return Object.assign((x: Tensor, context: Randomness = {}) => run(x, context), { native: steps })
}

/** The transform of both uses whose steps `make` makes. */
export function twoUses<Args extends readonly unknown[]>(
  op: string,
  make: (...args: Args) => ImageStep,
): TwoUses<Args> {
  const use = (...args: readonly unknown[]) => {
    const last = args.at(-1)
    const hasContext = typeof last === 'object' && last !== null && 'generator' in last
    if (args[0] instanceof Tensor) {
      const [x, ...rest] = args as unknown as [Tensor, ...Args]
      return make(...rest)(x, hasContext ? (last as Randomness) : {})
    }
    if (hasContext) throw badOption(op, "a step draws from its item's generator and takes none")
    return make(...(args as unknown as Args))
  }
  return use as TwoUses<Args>
}

/** Runs a native step on images of bytes; `count` uniform numbers are drawn for it, and hold for all images of the tensor. */
export function runOnBytes(x: Tensor, { name, numbers }: NativeStep, count = 0, context: Randomness = {}): Tensor {
  const { channels, height, width } = imageSizes(name, x)
  if (height * width === 0) throw new WickError('SHAPE_MISMATCH', `[${x.shape}] has no pixels`, { op: name })
  if (channels !== 1 && channels !== 3) {
    throw new WickError('SHAPE_MISMATCH', `needs 1 or 3 channels, not ${channels}`, { op: name })
  }
  const bytes = (channels === 1 ? cat([x, x, x], -3) : x).contiguous().dataSync()
  if (!(bytes instanceof Uint8Array)) throw new WickError('DTYPE_MISMATCH', `needs bytes, not ${x.dtype}`, { op: name })
  const draws = count === 0 ? new Float64Array() : Float64Array.from(uniform(count, context.generator))
  const made = native.transformImages(bytes, height, width, name, [...numbers], draws)
  const shape = [...x.shape.slice(0, -3), 3, made.height, made.width]
  const out = fromTypedArray(made.data, shape, { device: x.device })
  return channels === 1 ? out.narrow(-3, 0, 1) : out
}
