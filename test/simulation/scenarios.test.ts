import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { parseScenarios } from '../../local/simulator/scenario/index.ts';
import { simulateScenario } from '../../local/simulator/scenario-run.ts';
import { Apart } from './apart.ts';

const folder = join(import.meta.dirname, 'scenarios');
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .sort();
const named = files.flatMap((file) =>
  parseScenarios(readFileSync(join(folder, file), 'utf8'), file).scenarios.map(({ id }) => ({ id, file })),
);

const apart = new Apart();
afterAll(() => apart.end());

describe('an outage, and every promise after it:', () => {
  test.each(named)('$id', async ({ id, file }) => {
    expect(await apart.run('scenario', { file, id })).toEqual([]);
  });
});

test('every entry of the list of faults has a scenario, and so has every outage', () => {
  const ids = named.map(({ id }) => id);
  for (let fault = 1; fault <= 58; fault++)
    expect(ids.filter((id) => id.startsWith(`f${String(fault).padStart(2, '0')}-`))).toHaveLength(1);
  expect(ids.filter((id) => !/^f\d\d-/.test(id)).length).toBeGreaterThanOrEqual(15);
});

test('our own files hold nothing that nobody understands', () => {
  const notices = files.flatMap((name) => parseScenarios(readFileSync(join(folder, name), 'utf8'), name).notices);
  expect(notices).toEqual([]);
});

test('lines that are worked twice with nothing wrong break a scenario that allows none, and no other promise', async () => {
  const source = `
- id: worked-twice
  events: [{at: "0:00", set: {aws: ok}}]
  knobs: {batches: 1, twice: 0}
  repeatsMax: 0`;
  const { violations } = await simulateScenario(parseScenarios(source, 'here').scenarios[0]!, {
    seed: '1',
    variant: {
      core(core) {
        const { batching } = core;
        const run: typeof batching.run = async (job) => (await batching.run(job)) && batching.run(job);
        return { ...core, batching: { ...batching, run } };
      },
    },
  });
  expect(violations.map(({ invariant }) => invariant)).toEqual(['repeats']);
});
