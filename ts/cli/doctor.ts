/** `wick doctor`: whether wick works here, and if not, what to do. */

import { type DoctorDevice, diagnose, doctorDevices } from './checks.ts'
import { type Command, unknownName } from './command.ts'

export const doctor: Command = {
  summary: 'check that training works here, and say what to do where it does not',
  usage: `wick doctor [--device auto|cpu|cuda]

Checks, in this order: the runtime, the native addon, a training step on the CPU, the CUDA libraries, each GPU and a training
step on it, the folder of compiled kernels, disk space and shared memory. The exit status is 1 if a check fails.

  --device auto  checks GPUs where there is an NVIDIA driver (the default)
  --device cpu   doesn't look at GPUs
  --device cuda  a machine without a GPU fails`,
  options: { device: { type: 'string' } },
  async run({ device = 'auto' }) {
    const wanted = doctorDevices.find(name => name === device)
    if (wanted === undefined) throw unknownName('device', String(device), doctorDevices)
    return (await report(wanted)) ? 0 : 1
  },
}

/** Prints each finding as it is made. Whether all is well. */
async function report(device: DoctorDevice): Promise<boolean> {
  const counts = { pass: 0, fail: 0, skip: 0 }
  for await (const { name, status, detail, advice } of diagnose(device)) {
    counts[status]++
    console.log(
      `${status === 'fail' ? 'FAIL' : status}  ${name.padEnd(22)}  ${detail.replaceAll('\n', `\n${' '.repeat(30)}`)}`,
    )
    if (advice) console.log(`${' '.repeat(30)}→ ${advice}`)
  }
  console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`)
  return counts.fail === 0
}
