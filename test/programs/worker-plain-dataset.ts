/** The dataset of `worker-dataset.ts` without a collate function of its own. */
export { default } from './worker-dataset.ts'
