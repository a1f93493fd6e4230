// Copies the components' stylesheet into the package, with its imports.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const text = read('src/react/components/styles.css').replaceAll(/@import '([^']+)';/g, (_, path) => read(`node_modules/${path}`).trim())
writeFileSync(new URL('../dist/styles.css', import.meta.url), text)
copyFileSync(new URL('../src/react/components/styles.d.ts', import.meta.url), new URL('../dist/styles.d.ts', import.meta.url))
