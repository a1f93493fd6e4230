// The real gateway as a child process, with simulated exchanges and a free port.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import path from 'node:path'
import type { TestContext } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const BINARY = path.resolve(ROOT, process.env.SPREADWIRE_BIN ?? 'target/debug/spreadwire')

/** Milliseconds after which a test gives up. No test relies on the value. */
export const PATIENCE = 300_000

/** Waits until `probe` returns a true value, and returns it. */
export async function until<T>(what: string, probe: () => T | undefined | null | false): Promise<T> {
  const end = Date.now() + PATIENCE
  for (;;) {
    const found = probe()
    if (found) return found
    if (Date.now() > end) throw new Error(`waited too long for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export interface Gateway {
  /** `host:port`. */
  address: string
  stop(): Promise<void>
}

/** The demo: simulated venues, feeds and gateway in one process; it ends with the test. `settings` are `SPREADWIRE_…`. */
export async function demo(
  { onTestFinished }: TestContext,
  listen = '127.0.0.1:0',
  settings: Record<string, string> = {},
): Promise<Gateway> {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run cargo build, or set SPREADWIRE_BIN`)
  const child: ChildProcess = spawn(BINARY, ['demo', '--listen', listen, '--seed', '7'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { SPREADWIRE_GATEWAY_HEADER_WAIT_MS: '60000', ...process.env, ...settings },
  })
  const exited = once(child, 'exit')
  let said = ''
  child.stdout!.on('data', (bytes) => (said += bytes))
  child.stderr!.on('data', (bytes) => (said += bytes))
  onTestFinished(() => void child.kill('SIGKILL'))
  const found = await until('the greeting', () => {
    if (child.exitCode !== null) throw new Error(`spreadwire ended: ${said}`)
    return /http:\/\/(127\.0\.0\.1:\d+)\//.exec(said)
  })
  return {
    address: found[1]!,
    async stop() {
      child.kill('SIGTERM')
      await exited
    },
  }
}
