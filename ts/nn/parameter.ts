/** The tensors that a module owns: `Parameter`, which is trained, and `Buffer`, which isn't. Both outlive every scope. */
import { checkOptions } from '../errors.ts'
import { native } from '../native/index.ts'
import { isDType, isFloating } from '../tensor/dtype.ts'
import { type Device, type DType, Tensor, type TensorOptions, zeros } from '../tensor/index.ts'
import { leaveGroup } from './groups.ts'
import type { ModuleTarget } from './module.ts'

/** A view of `data` that no scope frees; it goes when its object is collected. */
abstract class Owned extends Tensor {
  constructor(data: Tensor) {
    super(native.detach(data.handle))
    native.keep(this.handle)
    this.track()
  }
}

/** A tensor of a module that is trained. It shares memory with the tensor that it is made from, and requires grad. */
export class Parameter extends Owned {
  constructor(data: Tensor, options: { requiresGrad?: boolean } = {}) {
    checkOptions('Parameter', options, ['requiresGrad'])
    super(data)
    if (options.requiresGrad ?? true) this.requiresGrad_()
  }
}

/** A tensor of a module that isn't trained, such as running statistics. It is in the state dict if it is persistent. */
export class Buffer extends Owned {
  readonly persistent: boolean

  constructor(data: Tensor, options: { persistent?: boolean } = {}) {
    checkOptions('Buffer', options, ['persistent'])
    super(data)
    this.persistent = options.persistent ?? true
  }
}

/** Gives an owned tensor the memory and the dtype of `data`. Its gradient is dropped, and its optimizer told. */
export function assignData(owned: Tensor, data: Tensor): void {
  const { requiresGrad } = owned
  const handle = native.detach(data.handle)
  native.keep(handle)
  leaveGroup(owned)
  owned.rebind(handle)
  if (requiresGrad) owned.requiresGrad_()
}

/** Moves an owned tensor to a device and, if it is a floating-point one, to a dtype. */
export function moveData(owned: Tensor, target: ModuleTarget): void {
  const given = typeof target === 'object' ? target : isDType(target) ? { dtype: target } : { device: target }
  const dtype = given.dtype !== undefined && isFloating(owned.dtype) ? { dtype: given.dtype } : {}
  const device = given.device !== undefined ? { device: given.device } : {}
  const moved = owned.to({ ...dtype, ...device })
  if (moved === owned) return
  assignData(owned, moved)
  moved.dispose()
}

/** Where a layer makes its parameters: `device` and `dtype`, as PyTorch's factory options. */
export interface FactoryOptions {
  device?: Device
  dtype?: DType
}
/** The names of `FactoryOptions`. */
export const factoryOptions = ['device', 'dtype'] as const

/** The factory options among a layer's options. */
export function factory({ device, dtype }: FactoryOptions): FactoryOptions {
  return { ...(device !== undefined && { device }), ...(dtype !== undefined && { dtype }) }
}

/** A parameter of zeros, for an initialiser to fill. */
export function newParameter(shape: readonly number[], options: FactoryOptions): Parameter {
  return adopt(zeros(shape, options), data => new Parameter(data))
}

/** A buffer of zeros. */
export function newBuffer(shape: readonly number[], options: TensorOptions): Buffer {
  return adopt(zeros(shape, options), data => new Buffer(data))
}

/** Makes an owned tensor of `data` and frees the handle that nobody else has. */
function adopt<T extends Tensor>(data: Tensor, make: (data: Tensor) => T): T {
  const owned = make(data)
  data.dispose()
  return owned
}
