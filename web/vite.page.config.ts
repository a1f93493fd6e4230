// The dashboard: one script, one stylesheet, no request to anywhere else. build.rs embeds what comes out.
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  root: 'dashboard',
  // A proxy may serve the page below a path.
  base: './',
  plugins: [react()],
  build: {
    outDir: '../page/built',
    emptyOutDir: true,
    target: 'es2022',
    // A data: address would need a hole in the page's policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One script: a page that stays open over an update of the gateway must not ask for a part that is gone.
    rollupOptions: { output: { codeSplitting: false } },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:3000', '/ws': { target: 'ws://127.0.0.1:3000', ws: true } } },
})
