// The Rust tests that need a GPU: one binary, which `npm run pack:gpu` carries to machines without cargo.
import { CommandError, mustRun } from './lib.mjs'

/** Where the packed tree keeps the binary. */
export const packedCheck = 'bin/gpu-check'

/** Builds the binary and gives its path. */
export async function buildCheck() {
  // Of the whole workspace, as the addon is: so both share what they are built from.
  const features = ['--workspace', '--features', 'wick-cuda/gpu-tests', '--test', 'gpu']
  const format = '--message-format=json-render-diagnostics'
  const args = ['test', '--release', '--locked', '--no-run', ...features, format]
  const { stdout } = await mustRun('cargo', args, { echo: 'stderr' })
  const executable = stdout
    .split('\n')
    .filter(line => line.includes('"compiler-artifact"'))
    .map(line => JSON.parse(line))
    .find(({ target, executable }) => target.name === 'gpu' && executable)?.executable
  if (!executable) throw new CommandError("cargo built no test 'gpu' of wick-cuda")
  return executable
}
