/** The longest suites first, so that neither worker stands idle at the end. */
import Sequencer from '@jest/test-sequencer';

/**
 * Those of 40 s and more on two cores, as they begin: what is one busy process beside local clouds, which are many that
 * often wait. Jest itself knows only how large the files are where it has never run them.
 */
const first = [
  'e2e/large',
  'e2e/local-clouds',
  'simulation/scenarios',
  'e2e/faults',
  'e2e/batches',
  'simulation/mistakes',
  'simulation/seeds',
  'conformance/aws',
  'e2e/outages/gate/killed',
  'conformance/azure',
  'e2e/bad-input',
].map((name) => `/test/${name}.test.ts`);

export default class LongestFirst extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => first.findIndex((name) => path.endsWith(name)) + 1 || first.length + 1;
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
}
