/** What a loader's main thread and its workers say to each other. */
import type { MessagePort } from 'node:worker_threads'
import type { ErrorCode } from '../../errors.ts'
import type { Form } from './packing.ts'

/** What all workers of a loader need to make the dataset. */
export interface ModuleSetup {
  /** Of the module that makes the dataset. */
  readonly url: string
  readonly args: unknown
  /** Items that the module's dataset has to have; null if it has to be iterable. */
  readonly length: number | null
  /** The part of it that the loader reads; null for all of it. */
  readonly indices: Uint32Array | null
  /** Whether the loader was given a collate function, so that the module has to export one. */
  readonly collates: boolean
  /** Whether a last batch of an iterable dataset that is shorter is left out. */
  readonly dropLast: boolean
}

/** What a worker needs. */
export interface WorkerSetup extends ModuleSetup {
  /** The worker's number. */
  readonly id: number
  readonly numWorkers: number
  /** One number: 1 more than the index of the item that is being made, or of the first that is awaited; 0 between batches. */
  readonly making: Int32Array<SharedArrayBuffer>
  /** Over which it talks with the loader. */
  readonly port: MessagePort
}

/** One pass over the data. */
export interface Pass {
  readonly id: number
  readonly seed: number
  readonly epoch: number
  /** One number: 1 after the pass was ended. */
  readonly ended: Int32Array<SharedArrayBuffer>
}

/** The main thread asks for a batch. */
export interface Request {
  readonly kind: 'batch'
  /** The request's number, by which it is answered. */
  readonly id: number
  readonly pass: Pass
  /** The batch's number in the pass. */
  readonly batch: number
  /** Of its items in the dataset, or in the worker's share if that is iterable. */
  readonly indices: Uint32Array
  /** Whether its items are only gone through. */
  readonly skips: boolean
  /** Regions of the ring that have been read. */
  readonly released: readonly number[]
}

/** The main thread ends a pass. */
export interface End {
  readonly kind: 'end'
  readonly pass: Pass
}

/** An error, taken apart: structured clone keeps neither classes nor codes. */
export interface ErrorParts {
  readonly name: string
  readonly message: string
  readonly stack: string
  readonly code?: ErrorCode
}

/** What a worker answers. A request of a pass that has ended gets no answer. */
export type Answer =
  | {
      readonly kind: 'batch'
      readonly id: number
      readonly form: Form
      readonly items: number
      /** The batch's region. */
      readonly region: number
      readonly start: number
      /** The ring's memory, if it is another than before. */
      readonly ring?: SharedArrayBuffer
    }
  /** Items were gone through without a batch; there are none if the worker's share has ended. */
  | { readonly kind: 'passed'; readonly id: number; readonly items: number }
  /** `item` is the index of the item that failed; without it, the collate function did. */
  | { readonly kind: 'failed'; readonly id: number; readonly item?: number; readonly error: ErrorParts }
  /** The module could not be used. */
  | { readonly kind: 'broken'; readonly error: ErrorParts }
