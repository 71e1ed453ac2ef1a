// The functions are tested in memory by convex-test: see convex/tests.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["convex/tests/**/*.test.ts"],
    environment: "node",
    testTimeout: 20_000,
    restoreMocks: true,
  },
});
