import { execute } from '../../shared/control/execute.ts';
import { resultKey } from '../../shared/journal/keys.ts';
import { acceptedBatches, publicationOf } from './checkers/journal.ts';
import { type Cloud, clouds, startOfTime, type World } from './world.ts';

/** Messages that a later version of us will understand: the first one comes early, the next ones ten minutes apart. */
export function plantLaterVersions(world: World, planted: { site: Cloud; body: string }[]): void {
  const draw = world.streams.of('later versions');
  for (let i = 0; i < world.knobs.laterVersions; i++) {
    const site = draw.pick(clouds);
    const body = JSON.stringify({ v: 2, kind: 'chunk', tenant: 'acme', shape: `of a later version, ${i}` });
    world.scheduler.fix(startOfTime + (1 + 10 * i) * 60_000, () => {
      void world.queues[site].work.send([{ id: draw.ids.uuid(), body }]).then(
        () => void planted.push({ site, body }),
        () => {},
      );
    });
  }
}

/** Objects among the results of open batches that are no results: cut off, or of another batch. */
export function plantTornResults(world: World, activeMs: number): void {
  const draw = world.streams.of('torn results');
  for (let i = 0; i < world.knobs.torn; i++)
    world.scheduler.fix(startOfTime + draw.next() * activeMs * 0.9, () => {
      const open = acceptedBatches(world).filter((placed) => publicationOf(world, placed) === undefined);
      if (open.length === 0) return;
      const { tenant, batch } = draw.pick(open);
      const site = draw.pick(clouds);
      const id = { epoch: 1, site, uuid: draw.ids.uuid() };
      const key = resultKey(tenant, batch, { ...id, firstLine: 0, lines: 1, answered: 1 });
      const foreign = `{"v":1,"kind":"result","batch":"batch_${draw.ids.uuid()}","rows":1}\n{"line":0}\n`;
      const bytes = Buffer.from(draw.chance(0.5) ? '{"v":1,"kind":"result","ba' : foreign);
      void world.stores[site].journal.putIfAbsent(key, bytes);
      world.record.reach('torn result planted');
    });
}

/** A store is lost and replaced, a third of the way: by an empty one, or by a backup that has forgotten some minutes. */
export function replaceStore(world: World, activeMs: number): void {
  const { replaced } = world.knobs;
  if (replaced === 'none') return;
  const { scheduler, stores } = world;
  const backup = new Map<string, Uint8Array>();
  const { state, journal } = stores[replaced];
  scheduler.fix(startOfTime + activeMs * 0.25, () => {
    for (const key of state.keysUnder('')) backup.set(key, state.peek(key)!);
  });
  scheduler.fix(startOfTime + activeMs * 0.33, () => {
    state.wipe();
    world.record.wipedAt.set(replaced, world.now);
    if (replaced === 'witness') journal.wipe();
    else for (const [key, bytes] of backup) void state.putIfAbsent(key, bytes);
    world.record.reach('store replaced');
    void nameReplaced(world, replaced);
  });
}

/** People say that a store is a new one, until two others have decided so. */
async function nameReplaced(world: World, store: 'witness' | 'azure'): Promise<void> {
  const { process, core } = world.spawn('laptop', 'outside', 'aws');
  for (let round = 0; round < 200; round++) {
    const command = { kind: 'replace-store', store, incarnation: `${store}-2` } as const;
    const outcome = await execute(core, command, {
      operationId: `replace-${store}`,
      actor: 'operator:replacer',
      reason: `${store} was replaced`,
      observations: [],
    }).catch(() => undefined);
    if (outcome?.status === 'done' || outcome?.status === 'replayed') break;
    await process.clock.sleep(20_000);
  }
  process.kill();
}
