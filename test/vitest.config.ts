import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/{unit,integration,conformance}/**/*.test.ts'],
    reporters: ['./test/support/reporter.ts'],
    // Processes rather than threads: tests lock files, change directory and count descriptors. Two
    // at most: pods under test start processes of their own.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
