/**
 * What one or two jest runs came to. With `--failed FILE`: the test files that failed in that report, one a line.
 * With `--count FIRST [SECOND]`: the closing line of the gate; the second run holds the files of the first that failed,
 * run again by themselves.
 */
import { existsSync, readFileSync } from 'node:fs';

const [mode, ...files] = process.argv.slice(2);
const [first, second] = files.filter(existsSync).map((file) => JSON.parse(readFileSync(file, 'utf8')));
const failed = first.testResults.filter(({ status }) => status === 'failed');

function count(suites) {
  const tests = suites.flatMap(({ assertionResults }) => assertionResults);
  const of = (status) => tests.filter((one) => one.status === status).length;
  // A suite that could not even load has failed, though none of its tests ran.
  const unloaded = suites.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  return { passed: of('passed'), failed: of('failed') + unloaded.length };
}

if (mode === '--failed') for (const { name } of failed) console.log(name);
else {
  const kept = second === undefined ? first.testResults : first.testResults.filter((suite) => !failed.includes(suite));
  const total = count([...kept, ...(second?.testResults ?? [])]);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed > 0 ? 1 : 0;
}
