// Properties of the package.
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const WEB = fileURLToPath(new URL('..', import.meta.url))

function sources(folder: string): string[] {
  return readdirSync(path.join(WEB, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => path.join(WEB, folder, name))
}

test('the core knows neither the DOM nor React nor Node: it compiles without their types and imports only itself', () => {
  execFileSync(process.execPath, [path.join(WEB, 'node_modules/typescript-7/bin/tsc'), '-p', 'tsconfig.core.json'], { cwd: WEB })
  for (const file of sources('src/core')) {
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/from '([^']+)'/g)) expect(name, file).toMatch(/^\.\/\w+\.js$/)
  }
})

test('text from the network is never markup', () => {
  for (const file of sources('src'))
    expect(readFileSync(file, 'utf8'), file).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/i)
})

test('the lock file names no registry', () => {
  expect(readFileSync(path.join(WEB, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved"/)
})
