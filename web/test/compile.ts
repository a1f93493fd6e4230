// Compiles code as in a user's project, with the names of the package, and returns the output of the compiler.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const WEB = fileURLToPath(new URL('..', import.meta.url))

/** The errors of the compiler in `files` (name to text); empty if there are none. */
export function compile(files: Readonly<Record<string, string>>): string {
  // Below the package, so that its dependencies are found.
  mkdirSync(path.join(WEB, 'node_modules/.compiled'), { recursive: true })
  const folder = mkdtempSync(path.join(WEB, 'node_modules/.compiled/'))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text)
    writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}')
    const options = {
      extends: path.join(WEB, 'tsconfig.json'),
      compilerOptions: {
        types: [],
        noUnusedLocals: false,
        noUnusedParameters: false,
        paths: {
          spreadwire: [path.join(WEB, 'src/core/index.ts')],
          'spreadwire/react': [path.join(WEB, 'src/react/index.ts')],
          'spreadwire/styles.css': [path.join(WEB, 'src/react/components/styles.d.ts')],
        },
      },
      include: [folder],
      exclude: [],
    }
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(options))
    execFileSync(process.execPath, [path.join(WEB, 'node_modules/typescript-7/bin/tsc'), '-p', folder], { cwd: WEB, encoding: 'utf8' })
    return ''
  } catch (error) {
    return (error as { stdout?: string }).stdout || String(error)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
