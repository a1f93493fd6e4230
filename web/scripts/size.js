// Checks the gzipped size of the built core and hooks, loads them in Node, where there is no page, and checks the directive that
// React's server components need.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

/** In bytes. */
const LIMIT = 12 * 1024
const dist = new URL('../dist/', import.meta.url)

const files = new Set()
const add = (name) => {
  if (files.has(name)) return
  files.add(name)
  for (const [, next] of readFileSync(new URL(name, dist), 'utf8').matchAll(/(?:from|import)\s*["']\.\/([^"']+)["']/g)) add(next)
}
add('index.js')
add('hooks.js')
const bytes = gzipSync(Buffer.concat([...files].map((name) => readFileSync(new URL(name, dist))))).length
console.log(`core and hooks: ${bytes} bytes gzipped of ${LIMIT} (${[...files].join(', ')})`)
if (bytes > LIMIT) process.exit(1)

const entry = readFileSync(new URL('react.js', dist), 'utf8')
if (!/^['"]use client['"];/.test(entry)) throw new Error("dist/react.js does not begin with 'use client'")
if (/export \*/.test(entry)) throw new Error('dist/react.js has `export *`, which a client entry of server components may not have')

const [core, hooks] = await Promise.all(['index.js', 'hooks.js'].map((name) => import(new URL(name, dist))))
if (!core.parseMessage || core.socketUrl() !== undefined || !hooks.usePriceStream)
  throw new Error('the built package lacks what it should have')
