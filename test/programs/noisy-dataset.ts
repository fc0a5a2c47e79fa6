/** A dataset with random noise in each item, as a module for loader workers. */
import { type data, randn, type Tensor, tensor } from '../../ts/index.ts'

const dataset: data.Dataset<[Tensor, Tensor]> = {
  length: 50,
  get(i, context) {
    const noise = randn([4], context && i % 2 ? { generator: context.generator } : {})
    return [
      tensor([i, Math.sin(i), i % 7, 1])
        .mul(0.1)
        .add(noise),
      tensor(i % 3, { dtype: 'int64' }),
    ]
  },
}
export default dataset
