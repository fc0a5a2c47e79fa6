// `npm start -- ARGS`: the MNIST example under Bun.
import { ensureBuilt } from './build.mjs'
import { ensureInstalled } from './install.mjs'
import { bun, main, run } from './lib.mjs'

await main(async () => {
  await ensureInstalled()
  await ensureBuilt()
  const { code } = await run(bun, ['run', 'examples/mnist.ts', ...process.argv.slice(2)], { inherit: true })
  return code
})
