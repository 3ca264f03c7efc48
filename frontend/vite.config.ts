import { defineConfig } from "vite";

// Two builds of the same pages: dist/ talks to the API, build/demo plays the fixtures. Relative asset addresses, so that
// the server only has to set <base>; nothing is inlined, so that a strict content security policy holds.
export default defineConfig(({ mode }) => ({
  base: "./",
  build: {
    target: "es2022",
    outDir: mode === "demo" ? "build/demo" : "dist",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: { input: mode === "demo" ? "demo.html" : "index.html" },
  },
}));
