// TensorBoard, with which the test of event files reads them; from PyPI, pinned in tensorboard.txt.
import { ensurePythonPackages } from './python-packages.mjs'

/** Makes sure that it is there, and resolves to the environment that lets the test find it: `WICK_TENSORBOARD_PATH`, unless it is set. */
export async function ensureTensorBoard() {
  if (process.env.WICK_TENSORBOARD_PATH) return {}
  const folder = await ensurePythonPackages({
    name: 'tensorboard',
    what: 'TensorBoard for the test of event files',
    pins: 'scripts/tensorboard.txt',
    without: 'Without it the test that TensorBoard reads event files is skipped.',
  })
  return folder === null ? {} : { WICK_TENSORBOARD_PATH: folder }
}
