export * from './hooks/index.js'
export * from './components/index.js'
export type * from '../core/index.js'
