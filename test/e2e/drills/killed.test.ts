import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { faultControl } from '../../../local/faults/index.ts';
import { learnControl } from '../../../shared/control/log.ts';
import { viewDrill } from '../../../shared/drill/read.ts';
import { learnTurns } from '../../../shared/drill/turns.ts';
import { bootMs, type TestClouds, until } from '../support.ts';
import { drillCommand, exampleDrill, healthyClouds } from './support.ts';

let world: TestClouds;
beforeAll(async () => {
  world = await healthyClouds();
}, 2 * bootMs);
afterAll(() => world?.stop());

/** What the runner has said when it is killed. */
const moments = [
  ['before', 'switchover', /phase {3}before/],
  ['method: fenced', 'switchover', /control epoch \d+, drill\/.*cordoned → fenced/],
  ['method: a fault holds', 'azure-dark', /action {2}azure refuse/],
  ['undo', 'switchover', /phase {3}undo/],
  ['after', 'shadow', /phase {3}after/],
  ['judge', 'shadow', /phase {3}judge/],
] as const;

test.each(moments)(
  'F48: kill -9 of the runner in %s of %s: no fault and no fence outlives its lease by much, and the clouds say so',
  async (_, name, said) => {
    const faults = faultControl(world.ports);
    const before = await learnControl(world.core);
    const { child, out, ended } = drillCommand(world, 'run', exampleDrill(name));
    await until(async () => (said.test(out.stderr) ? true : undefined), `${name} says ${said}`, 600_000);
    child.kill('SIGKILL');
    await ended;
    const { turn } = (await learnTurns(world.core)).at(-1)!;
    // The functions of either cloud find the lease expired, and undo the drill.
    const report = await until(
      async () => (await viewDrill(world.core, turn)).report,
      'somebody undoes the drill',
      1_500_000,
    );
    expect(report).toMatch(/^[0-9a-f]{64}$/);
    expect(await faults.list()).toEqual([]);
    const { sites, moves } = await learnControl(world.core);
    expect(moves).toEqual([]);
    expect(Object.entries(sites).map(([id, { state, weight }]) => `${id} ${state} ${weight}`)).toEqual(
      Object.entries(before.sites).map(([id, { state, weight }]) => `${id} ${state} ${weight}`),
    );
  },
  2_400_000,
);
