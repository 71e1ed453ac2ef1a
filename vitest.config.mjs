// The functions are tested in memory by convex-test (convex/tests); the page's parts beside their sources (web/src).

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["convex/tests/**/*.test.ts", "web/src/**/*.test.{ts,tsx}"],
    environment: "node",
    testTimeout: 20_000,
    restoreMocks: true,
  },
});
