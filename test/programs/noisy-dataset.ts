/** A dataset with random noise in each item, as a module for loader workers. It lives on the CPU, where a worker's tensors are. */
import { type data, randn, type Tensor, tensor } from '../../ts/index.ts'

const device = 'cpu'
const dataset: data.Dataset<[Tensor, Tensor]> = {
  length: 50,
  get(i, context) {
    const noise = randn([4], { device, ...(context && i % 2 && { generator: context.generator }) })
    return [
      tensor([i, Math.sin(i), i % 7, 1], { device })
        .mul(0.1)
        .add(noise),
      tensor(i % 3, { dtype: 'int64', device }),
    ]
  },
}
export default dataset
