import { describe, expect, test } from '@jest/globals';
import { acceptorsOf, registerOptions } from '../../../shared/control/acceptors.ts';
import { execute } from '../../../shared/control/execute.ts';
import { initControl } from '../../../shared/control/init.ts';
import { controlView, learnControl } from '../../../shared/control/log.ts';
import type { Core } from '../../../shared/core.ts';
import { factBytes } from '../../../shared/journal/facts.ts';
import { publicationRegister } from '../../../shared/journal/keys.ts';
import { decide, learn } from '../../../shared/journal/registers.ts';
import { completeVoter } from '../../../shared/redrive/rejoin.ts';
import { sweep } from '../../../shared/worker/index.ts';
import { publicationOf } from '../../support/publication.ts';
import { World } from '../../support/world.ts';

async function started(): Promise<{ world: World; core: Core }> {
  const world = new World();
  const bare = world.newProcess('azure');
  const core = { ...bare, control: controlView(bare, { cacheMs: 0 }) };
  const site = (cloud: 'aws' | 'azure') => ({ cloud, region: 'local' });
  await initControl(core, {
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    actor: 'test',
    reason: 'first entry',
  });
  return { world, core };
}
const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString());
const replaceStore = (core: Core, store: string, force: ['no-witness'] | [] = []) =>
  execute(
    core,
    { kind: 'replace-store', store, incarnation: `${store}-2` },
    {
      actor: 'operator:test',
      reason: 'restored from last night',
      operationId: `replace-${store}`,
      observations: [],
      force,
    },
  );

describe('a store that comes back from a backup', () => {
  test('F38 control: one that votes at once, under its old name, lets a decided value be decided again', async () => {
    const { world, core } = await started();
    const control = await learnControl(core);
    world.witness.faults.set('all', { refuse: true });
    await world.settled(decide(acceptorsOf(core, control), 'a/1', Buffer.from('first'), registerOptions(core)));
    world.witness.faults.clear();
    world.aws.state.wipe();
    world.azure.faults.set('all', { refuse: true });
    const again = await world.settled(
      decide(acceptorsOf(core, control), 'a/1', Buffer.from('second'), registerOptions(core)),
    );
    expect(text(again.value)).toBe('second');
  });

  test('F38 F58 under its new incarnation it votes only once it knows what the two others know; nothing is decided twice', async () => {
    const { world, core } = await started();
    const control = await learnControl(core);
    const options = registerOptions(core);
    const put = (name: string, value: string) =>
      world.settled(decide(acceptorsOf(core, control), name, Buffer.from(value), options));
    world.witness.faults.set('all', { refuse: true });
    await put('a/1', 'by both clouds');
    world.witness.faults.clear();
    world.azure.faults.set('all', { refuse: true });
    await put('a/2', 'by aws and the witness');
    world.azure.faults.clear();
    world.aws.state.wipe();
    await world.settled(replaceStore(core, 'aws'));
    const joining = await core.control.current();
    expect(joining.voters).toContainEqual({ store: 'aws', incarnation: 'aws-2', joining: true });
    expect(acceptorsOf(core, joining).map(({ id }) => id)).toEqual(['azure', 'witness']);
    // While it joins, the two others are both needed.
    world.azure.faults.set('all', { refuse: true });
    await expect(
      world.settled(decide(acceptorsOf(core, joining), 'a/1', Buffer.from('second'), options)),
    ).rejects.toMatchObject({ code: 'no_majority' });
    world.azure.faults.clear();
    expect(await world.settled(completeVoter(core))).toBeGreaterThanOrEqual(2);
    const voting = await core.control.current();
    expect(voting.voters).toContainEqual({ store: 'aws', incarnation: 'aws-2' });
    expect(await world.settled(completeVoter(core))).toBeUndefined();
    for (const away of ['azure', 'witness'] as const) {
      world[away].faults.set('all', { refuse: true });
      const acceptors = acceptorsOf(core, voting);
      expect(text(await world.settled(learn(acceptors, 'a/1', options)))).toBe('by both clouds');
      const again = await world.settled(decide(acceptors, 'a/2', Buffer.from('second'), options));
      expect(text(again.value)).toBe('by aws and the witness');
      world[away].faults.clear();
    }
  });

  test('what its journal lacks and nothing points to is copied there within two minutes, not at the next full pass', async () => {
    const { world, core } = await started();
    const { tenant, batch } = await world.accept();
    await world.run(120_000, () => world.called.length > 0);
    const sweepFor = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 10_000) {
        await world.settled(sweep(core));
        await world.clock.advance(10_000);
      }
    };
    // Just after a full pass the next one is ten minutes away.
    await sweepFor(11 * 60_000);
    await world.settled(replaceStore(core, 'aws'));
    world.aws.state.wipe();
    world.aws.journal.wipe();
    await sweepFor(2 * 60_000);
    expect(await world.publication('aws', { tenant, batch })).toMatchObject({ status: 'completed' });
    expect((await learnControl(core)).voters).toContainEqual({ store: 'aws', incarnation: 'aws-2' });
  });

  test('completing is taken up where it was left: one that does not answer half-way costs nothing', async () => {
    const { world, core } = await started();
    const control = await learnControl(core);
    for (let i = 0; i < 5; i++)
      await world.settled(decide(acceptorsOf(core, control), `a/${i}`, Buffer.from(`${i}`), registerOptions(core)));
    world.aws.state.wipe();
    await world.settled(replaceStore(core, 'aws'));
    let writes = 0;
    world.aws.faults.before = (op) => {
      if (op === 'putIfAbsent' && ++writes > 2) throw new Error('dark');
    };
    await expect(world.settled(completeVoter(core))).rejects.toThrow();
    world.aws.faults.clear();
    expect((await core.control.current()).voters).toContainEqual({ store: 'aws', incarnation: 'aws-2', joining: true });
    await world.settled(completeVoter(core));
    expect((await core.control.current()).voters).toContainEqual({ store: 'aws', incarnation: 'aws-2' });
  });

  test('a publication whose files were deleted since holds nobody up', async () => {
    const { world, core } = await started();
    const control = await learnControl(core);
    const batch = `batch_${'a'.repeat(32)}`;
    const publication = publicationOf(batch, { output: { sha256: 'b'.repeat(64), bytes: 200 } });
    const value = factBytes(publication);
    const name = publicationRegister(batch);
    // Decided by both clouds; the witness never saw it, and its files are in no store any more.
    await world.settled(decide(acceptorsOf(core, control), name, value, registerOptions(core)));
    world.aws.state.wipe();
    await world.settled(replaceStore(core, 'aws'));
    // A store that does not answer may have them: then it waits.
    world.aws.faults.set('getStream', { refuse: true });
    await expect(world.settled(completeVoter(core))).rejects.toMatchObject({ code: 'no_majority' });
    world.aws.faults.clear();
    await world.settled(completeVoter(core));
    const voting = await core.control.current();
    expect(voting.voters).toContainEqual({ store: 'aws', incarnation: 'aws-2' });
    world.azure.faults.set('all', { refuse: true });
    expect(await world.settled(learn(acceptorsOf(core, voting), name, registerOptions(core)))).toEqual(value);
  });

  test('only the two others decide that it was replaced: with one of them dark nothing is decided, whatever is forced', async () => {
    const { world, core } = await started();
    world.witness.faults.set('all', { refuse: true });
    const outcome = await world.settled(replaceStore(core, 'aws', ['no-witness']));
    expect(outcome).toMatchObject({
      status: 'undecided',
      objections: [
        { sentence: 'both other stores have to decide that a store was replaced, and one of them does not answer' },
      ],
    });
    expect((await core.control.current()).voters).toContainEqual({ store: 'aws', incarnation: 'aws-1' });
    world.witness.faults.clear();
    expect(await world.settled(replaceStore(core, 'aws'))).toMatchObject({ status: 'done', entry: { epoch: 2 } });
    expect(await world.settled(replaceStore(core, 'aws'))).toMatchObject({ status: 'replayed' });
    expect(await world.settled(replaceStore(core, 'azure'))).toMatchObject({
      status: 'impossible',
      sentence: 'aws was replaced and does not vote yet: wait until it does',
    });
    expect(await world.settled(replaceStore(core, 'gcp'))).toMatchObject({
      status: 'impossible',
      sentence: 'there is no store gcp; there are aws, azure, witness',
    });
  });
});
