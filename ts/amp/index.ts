/** Mixed precision. */
export * from './autocast.ts'
export * from './grad-scaler.ts'
