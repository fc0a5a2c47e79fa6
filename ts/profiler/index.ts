/** The profiler: `profile(fn)`, and for a Trainer `ProfilerCallback`. */
export { Profile, type ProfiledMemory, type ProfiledOp, type ProfileOptions, profile } from './profile.ts'
export type { ChromeTrace, TraceEvent } from './trace.ts'
