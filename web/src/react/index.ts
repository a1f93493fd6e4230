export * from './hooks/index.js'
export * from './components/index.js'
export { setGateway } from '../core/environment.js'
export type * from '../core/index.js'
