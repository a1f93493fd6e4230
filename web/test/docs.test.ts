// Every piece of code in docs/react.md compiles against the package.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { compile } from './compile.js'

const page = readFileSync(new URL('../../docs/react.md', import.meta.url), 'utf8')
const pieces = [...page.matchAll(/```(tsx?)\n([^]*?)```/g)].map(([, kind, text], at) => [`piece${at}.${kind}`, text!] as const)

test('all code on the page compiles', () => {
  expect(pieces.length).toBeGreaterThanOrEqual(10)
  expect(compile(Object.fromEntries(pieces))).toBe('')
})

test('code with an unknown name does not compile', () => {
  const wrong = pieces.map(([name, text]) => [name, text.replace('useLivePrice(', 'useDeadPrice(')] as const)
  expect(compile(Object.fromEntries(wrong))).toMatch(/useDeadPrice/)
})

test('every hook of the package is on the page', async () => {
  const hooks = Object.keys(await import('../src/react/hooks/index.js')).filter((name) => name.startsWith('use'))
  for (const name of hooks) expect(page).toContain(`\`${name}(`)
})
