/** TypeScript through swc, as real ES modules (the sources import with `.ts` endings, as Node itself runs them). */
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2024', parser: { syntax: 'typescript' } }, module: { type: 'es6' }, sourceMaps: 'inline' },
    ],
  },
  testMatch: ['<rootDir>/test/**/*.test.ts', '<rootDir>/local/**/*.test.ts'],
  // Whole outages, drills and simulations take hours: `npm run outages`, `drills` and `simulation` run them all, the gate some.
  testPathIgnorePatterns: [
    '/node_modules/',
    '<rootDir>/test/e2e/outages/[^/]+$',
    '<rootDir>/test/e2e/drills/[^/]+$',
    '<rootDir>/test/simulation/(plan|registers)/',
    '<rootDir>/test/simulation/(shared-scenarios|crash-points|drills)\\.test\\.ts$',
  ],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.serverless/'],
  // A safety net, not a measure: the slowest of them moves hundreds of megabytes on a machine that may be busy.
  testTimeout: 240_000,
  testSequencer: '<rootDir>/jest.sequencer.mjs',
  // One more than the cores that a gate has: the longest ones wait, for clouds or for a process of low priority.
  maxWorkers: 3,
};
