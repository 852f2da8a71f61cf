import { expect, test } from '@jest/globals';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { World } from '../../support/world.ts';

const hour = 3_600_000;

/** Azure alone may serve the model. */
function worldOf(): World {
  const world = new World();
  world.models = { sitesFor: () => ['azure'] };
  return world;
}

function setState(world: World, azure: ControlEntry['sites'][string]['state']): void {
  const epoch = world.control.epoch + 1;
  const before = world.control.sites.azure!;
  const site = { ...before, state: azure, fencedEpoch: azure === 'fenced' ? epoch : before.fencedEpoch };
  world.control = { ...world.control, epoch, sites: { ...world.control.sites, azure: site } };
}

test('waiting: the only site that may serve a model is fenced, nothing is sent elsewhere, and it ends once that is back', async () => {
  const world = worldOf();
  setState(world, 'fenced');
  const batch = await world.accept({ home: 'azure', lines: 12 });
  await world.run(hour / 4, undefined, ['aws']);
  expect((await world.aws.work.depth()).visible).toBe(0);
  expect(world.asked.size).toBe(0);
  // It is nobody's backlog: the survivor is not slow because this waits.
  const [report] = await world.sweepAll(['aws']);
  expect(report!.progress).toEqual([]);
  expect(await world.publication('aws', batch)).toBeUndefined();
  setState(world, 'active');
  await world.run(hour / 4, () => world.called.length > 0);
  const publication = await world.publication('azure', batch);
  expect(publication).toMatchObject({ status: 'completed', counts: { total: 12, completed: 12 } });
  expect([...world.asked.values()]).toEqual(Array(12).fill(1));
});

test('waiting: fenced with half of the lines done, the other half waits and is not redriven to where nobody serves it', async () => {
  const world = worldOf();
  const batch = await world.accept({ home: 'azure', lines: 10 });
  await world.serve('azure', 'intake');
  await world.serve('azure', 'work', 1);
  expect(world.asked.size).toBe(5);
  setState(world, 'fenced');
  await world.run(hour / 4, undefined, ['aws']);
  expect(world.asked.size).toBe(5);
  setState(world, 'active');
  await world.run(hour / 2, () => world.called.length > 0);
  expect(await world.publication('azure', batch)).toMatchObject({ status: 'completed', counts: { completed: 10 } });
});

test('waiting: nobody comes back in time, and the site that cannot serve the batch still ends it', async () => {
  const world = worldOf();
  setState(world, 'fenced');
  const batch = await world.accept({ home: 'azure', lines: 3, windowMs: hour });
  await world.run(2 * hour, () => world.called.length > 0, ['aws']);
  expect(await world.publication('aws', batch)).toMatchObject({
    status: 'expired',
    counts: { total: 3, completed: 0 },
  });
  expect(world.asked.size).toBe(0);
});
