import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { parseScenarios } from '../../local/simulator/scenario/index.ts';
import { simulateScenario } from '../../local/simulator/scenario-run.ts';

// The outages of a folder beside the project, which it does not ship; `outage-…` in `scenarios/` tells the same ones anew.
const path = resolve(import.meta.dirname, '../../../shared/scenarios.yaml');
const scenarios = existsSync(path) ? parseScenarios(readFileSync(path, 'utf8'), 'scenarios.yaml').scenarios : [];

if (scenarios.length === 0) test.skip('../shared/scenarios.yaml (is not there: skipped)', () => {});
else
  test.each(scenarios.map((scenario) => [scenario.id, scenario] as const))(
    '../shared/scenarios.yaml, %s: every promise holds after it',
    async (_id, scenario) => {
      const { violations } = await simulateScenario(scenario, { seed: '1' });
      expect(violations).toEqual([]);
    },
  );
