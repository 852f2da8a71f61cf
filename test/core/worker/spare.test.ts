import { describe, expect, test } from '@jest/globals';
import { SiteUnavailableError } from '../../../shared/errors.ts';
import { sparing } from '../../../shared/worker/spare.ts';
import { World } from '../../support/world.ts';
import { setState } from '../redrive/support.ts';

/** AWS is fenced and swallows every call to its store. */
function darkAws() {
  const world = new World();
  setState(world, { aws: 'fenced' });
  let looks = 0;
  world.aws.faults.before = async () => {
    looks += 1;
    await world.clock.sleep(60_000);
    throw new SiteUnavailableError('timeout', 'no answer', 'aws');
  };
  return { world, core: world.newProcess('azure'), looks: () => looks };
}

describe('a fenced site that swallows calls', () => {
  test('is waited for once; afterwards it refuses at once, and whoever looks again waits for half a second', async () => {
    const { world, core, looks } = darkAws();
    const begunAt = world.clock.now();
    await world.settled(sparing(core, world.control));
    expect(world.clock.now() - begunAt).toBe(core.settings.peerTimeoutMs);
    await world.clock.advance(20_000);
    const againAt = world.clock.now();
    const spared = await world.settled(sparing(core, world.control));
    expect(world.clock.now() - againAt).toBe(500);
    expect(looks()).toBe(2);
    await expect(spared.sites.get('aws')!.journal.get('control/00000001.json')).rejects.toMatchObject({
      code: 'spared',
    });
  });

  test('is met again at the first look that it answers', async () => {
    const { world, core } = darkAws();
    await world.settled(sparing(core, world.control));
    world.aws.faults.clear();
    await world.clock.advance(20_000);
    expect(await sparing(core, world.control)).toBe(core);
  });
});
