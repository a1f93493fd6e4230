export * from './hooks/index.js'
export type * from '../core/index.js'
