// The package: entries that share the core. React and uPlot are not bundled.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  build: {
    lib: { entry: { index: 'src/core/index.ts', hooks: 'src/react/hooks/index.ts', react: 'src/react/index.ts' }, formats: ['es'] },
    target: 'es2022',
    sourcemap: true,
    rollupOptions: {
      // Marks hooks and components as client code for React's server components.
      output: { banner: ({ name }) => (name === 'react' ? "'use client';" : ''), minify: true },
      external: [/^react($|\/)/, /^react-dom($|\/)/, 'uplot'],
    },
  },
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    environment: 'node',
    environmentOptions: { happyDOM: { url: 'https://desk.example/panel' } },
    // Ends a test that hangs. No test relies on the value.
    testTimeout: 300_000,
  },
})
