// A small trainer whose state all depends on one number.
import { nn, noGrad, optim, type Tensor, Trainer } from '../../ts/index.ts'

/** The trainer, how its number is set, and whether all that it holds is of one number, which is given. */
export function savable(size = 30) {
  const model = new nn.Linear(size, size)
  const optimizer = new optim.AdamW(model.parameters())
  const trainer = new Trainer<nn.Linear, [Tensor, Tensor]>({ model, loss: new nn.MSELoss(), optimizer, callbacks: [] })
  const set = (n: number) => {
    noGrad(() => {
      for (const p of model.parameters()) p.fill_(n)
    })
    optimizer.paramGroups[0]!.lr = n
    trainer.runHistory.reset()
    trainer.runHistory.updateMetric('n', n)
  }
  const numbers = () => {
    const values = model.parameters().flatMap(p => Array.from(p.dataSync(), Number))
    const history = trainer.runHistory.getMetricNames().includes('n') ? [trainer.runHistory.getLatestMetric('n')] : []
    return [...new Set([...values, optimizer.paramGroups[0]!.lr, ...history])]
  }
  return { trainer, model, optimizer, set, numbers }
}
