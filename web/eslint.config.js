// Lints in addition to the compiler: `npm run lint`.
import js from '@eslint/js'
import { defineConfig } from 'eslint/config'
import reactHooks from 'eslint-plugin-react-hooks'
import tseslint from 'typescript-eslint'
import effects from './lint/effects.js'

/** Globals of Node and browsers. Browser tests run parts of their code in a page. */
const PLATFORM = [
  'CSS',
  'Blob',
  'Buffer',
  'Image',
  'MutationObserver',
  'PerformanceObserver',
  'URL',
  'URLSearchParams',
  'WebSocket',
  'cancelAnimationFrame',
  'clearInterval',
  'clearTimeout',
  'console',
  'document',
  'fetch',
  'getComputedStyle',
  'innerHeight',
  'innerWidth',
  'localStorage',
  'location',
  'performance',
  'process',
  'requestAnimationFrame',
  'setInterval',
  'setTimeout',
  'window',
]

export default defineConfig(
  { ignores: ['dist', 'page', 'e2e/artifacts'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  { files: ['**/*.js'], languageOptions: { globals: Object.fromEntries(PLATFORM.map((name) => [name, 'readonly'])) } },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // The compiler reports these.
      '@typescript-eslint/no-unused-vars': 'off',
      // Used for values of the platform only.
      '@typescript-eslint/no-explicit-any': 'off',
      '@typescript-eslint/no-empty-object-type': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
  {
    files: ['src/**', 'dashboard/**', 'test/**'],
    plugins: { 'react-hooks': reactHooks, own: { rules: { effects } } },
    rules: { 'react-hooks/rules-of-hooks': 'error', 'react-hooks/exhaustive-deps': 'error', 'own/effects': 'error' },
  },
)
