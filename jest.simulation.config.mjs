/** Everything of `test/simulation`: scenarios, deliberate mistakes, crash points, seeds. */
import base from './jest.config.mjs';

export default {
  ...base,
  testMatch: ['<rootDir>/test/simulation/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
};
