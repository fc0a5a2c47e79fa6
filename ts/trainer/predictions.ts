/** `predict`: applies a model batch by batch and joins what it gives. */
import { type BatchReader, isPromise, type MaybePromise } from '../data/reader.ts'
import { WickError } from '../errors.ts'
import { native } from '../native/index.ts'
import { region } from '../tensor/context.ts'
import { cat, noGrad, stack, Tensor } from '../tensor/index.ts'
import { handlesIn } from '../tensor/tree.ts'

/**
 * The outputs of `apply` for every batch of `reader`, without gradients, joined along the first dimension; what else is made is
 * freed.
 */
export async function predictAll<Batch, Output>(
  reader: BatchReader<Batch>,
  apply: (batch: Batch) => MaybePromise<Output>,
): Promise<Output> {
  const outputs: Output[] = []
  try {
    while (await region({ grad: false }, () => reader.next())) {
      const output = region({ scoped: true, grad: false }, () => {
        const taken = reader.take()
        return isPromise(taken) ? taken.then(apply) : apply(taken)
      })
      outputs.push(isPromise(output) ? await output : output)
    }
    return noGrad(() => join(outputs)) as Output
  } finally {
    reader.close()
    for (const handle of handlesIn(outputs)) native.release(handle)
  }
}

function join(parts: readonly unknown[]): unknown {
  const [first] = parts
  if (first instanceof Tensor) {
    const tensors = parts.filter(part => part instanceof Tensor)
    return first.shape.length === 0 ? stack(tensors, 0) : cat(tensors, 0)
  }
  if (Array.isArray(first)) {
    return first.map((_, i) => join(parts.map(part => (Array.isArray(part) ? part[i] : undefined))))
  }
  if (typeof first === 'object' && first !== null) {
    return Object.fromEntries(
      Object.keys(first).map(key => [key, join(parts.map(part => Reflect.get(Object(part), key)))]),
    )
  }
  throw new WickError(
    'NOT_SUPPORTED',
    `outputs of type ${typeof first} can't be joined; override calculatePredictions`,
    {
      op: 'Trainer.predict',
    },
  )
}
