/** Every drill of `examples/drills` on the local clouds, one after the other, each on a pair of its own: about an hour. */
import base from './jest.config.mjs';

export default {
  ...base,
  testMatch: ['<rootDir>/test/e2e/drills/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 1,
};
