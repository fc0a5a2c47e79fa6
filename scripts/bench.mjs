// `npm run bench -- ARGS`: see bench/run.ts. `npm run bench -- images ARGS`: see bench/images.ts.
import { ensureBuilt } from './build.mjs'
import { ensureInstalled } from './install.mjs'
import { bun, main, run } from './lib.mjs'

await main(async () => {
  await ensureInstalled()
  await ensureBuilt()
  const args = process.argv.slice(2)
  const command = args[0] === 'images' ? ['bench/images.ts', ...args.slice(1)] : ['bench/run.ts', ...args]
  const { code } = await run(bun, ['run', ...command], { inherit: true })
  return code
})
