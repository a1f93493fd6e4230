// The dashboard: one script, one stylesheet, no requests to other origins. build.rs embeds the output.
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
    // The page's policy does not allow data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One script: an open page must not request a part that an update of the gateway has removed.
    rollupOptions: { output: { codeSplitting: false } },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:3000', '/ws': { target: 'ws://127.0.0.1:3000', ws: true } } },
})
