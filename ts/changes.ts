/** Counts what changes under functions whose JavaScript is skipped (`capture: 'full'`). */
let changes = 0

/** A module's mode, or what a tensor's object stands for, has changed: functions that may use it run again. */
export function noteChange(): void {
  changes++
}

/** Grows with every `noteChange`. */
export function changesSoFar(): number {
  return changes
}
