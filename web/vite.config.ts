// The package: two entries that share the core, nothing bundled that the user brings.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  build: {
    lib: { entry: { index: 'src/core/index.ts', hooks: 'src/react/hooks/index.ts', react: 'src/react/index.ts' }, formats: ['es'] },
    target: 'es2022',
    sourcemap: true,
    rollupOptions: {
      // Hooks and components run in a browser: React's server components need to be told.
      output: { banner: ({ name }) => (name === 'react' ? "'use client';" : ''), minify: true },
      external: [/^react($|\/)/, /^react-dom($|\/)/, 'uplot'],
    },
  },
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    environment: 'node',
    environmentOptions: { happyDOM: { url: 'https://desk.example/panel' } },
    // A test that hangs; no bound of anything.
    testTimeout: 300_000,
  },
})
