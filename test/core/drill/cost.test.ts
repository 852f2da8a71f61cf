import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { controlView } from '../../../shared/control/log.ts';
import type { Core } from '../../../shared/core.ts';
import { gigabyteSecondPrices, unitPrices } from '../../../shared/cost/prices.ts';
import { scheduledDrills } from '../../../shared/drill/defaults.ts';
import type { DrillSource } from '../../../shared/drill/file.ts';
import { startDrill, tendDrills } from '../../../shared/drill/start.ts';
import type { Stores } from '../../../shared/ports/site.ts';
import { type Cloud, DrillWorld } from './support.ts';

const doc = readFileSync(join(import.meta.dirname, '../../../docs/operations/probe-cost.md'), 'utf8');
const clouds: readonly Cloud[] = ['aws', 'azure'];
const stores = ['aws', 'azure', 'witness'] as const;
/** What may be off before somebody should have written it down; of a few calls, two. */
const tolerance = 0.1;

type Counts = Record<string, { writes: number; reads: number }>;
const none = (): Counts => Object.fromEntries(stores.map((store) => [store, { writes: 0, reads: 0 }]));
/** LIST is priced as a write, DELETE is free. */
const kinds: Record<string, 'writes' | 'reads'> = {
  putIfAbsent: 'writes',
  putIfMatch: 'writes',
  putStreamIfAbsent: 'writes',
  list: 'writes',
  get: 'reads',
  getStream: 'reads',
  head: 'reads',
};

/** The same core, whose own calls are counted: those of monitors and workers around it are not. */
function counted(core: Core, counts: Counts): Core {
  const watch = <S extends object>(store: S, id: string): S =>
    new Proxy(store, {
      get(target, name) {
        const member = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          const kind = kinds[String(name)];
          if (kind !== undefined) counts[id]![kind] += 1;
          return member.apply(target, args);
        };
      },
    });
  const all = <S extends Stores>(one: S): S => ({
    ...one,
    journal: watch(one.journal, one.id),
    state: watch(one.state, one.id),
  });
  const base = {
    ...core,
    sites: new Map([...core.sites].map(([id, site]) => [id, all(site)])),
    ...(core.witness !== undefined && { witness: all(core.witness) }),
  };
  return { ...base, control: controlView(base) };
}

/** Holds a row of the document against what was counted. */
function expectStated(row: string, found: Counts): void {
  const pair = '([\\d,]+) / ([\\d,]+)';
  const cells = new RegExp(`\\| ${row} \\| ${pair} \\| ${pair} \\| ${pair} \\|`).exec(doc)?.slice(1);
  const stated = cells?.map((cell) => Number(cell.replaceAll(',', '')));
  const measured = stores.flatMap((store) => [found[store]!.writes, found[store]!.reads]);
  const isTold =
    stated !== undefined &&
    measured.every((count, i) => Math.abs(count - stated[i]!) <= Math.max(2, tolerance * stated[i]!));
  if (!isTold) throw new Error(`${row}: measured ${measured.join(' ')}, the document says ${stated?.join(' ')}`);
}

describe('what drills cost (docs/operations/probe-cost.md)', () => {
  test('an hour in which both clouds look each minute, and nothing is due', async () => {
    const drills = await DrillWorld.start();
    const known = scheduledDrills(null, clouds);
    // One drill ran before: what it left is not read again each minute.
    await drills.run(known[0]!.file, { id: 'paper' });
    const counts = none();
    const cores = { aws: counted(drills.cores.aws, counts), azure: counted(drills.cores.azure, counts) };
    const tend = (self: Cloud) => tendDrills(cores[self], drills.deps(self), known, Number.POSITIVE_INFINITY);
    for (const cloud of clouds) await tend(cloud);
    Object.assign(counts, none());
    for (let minute = 0; minute < 60; minute++) {
      for (const cloud of clouds) expect(await tend(cloud)).toEqual({ status: 'nothing' });
      await drills.world.clock.advance(60_000);
    }
    expectStated('looking each minute, an hour', counts);
    const month = clouds.reduce((sum, cloud) => {
      const { store_write: write, store_read: read } = unitPrices[cloud];
      return sum + 730 * (counts[cloud]!.writes * write + counts[cloud]!.reads * read);
    }, 0);
    expect(Number(/drills: \$(\d+\.\d+) a month/.exec(doc)?.[1])).toBeCloseTo(month, 1);
  });

  test('the time of the looks is what the templates deploy, at the price list', () => {
    const read = (path: string) => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8');
    const lambdaMb = Number(/\n {2}drills:\n(?: {4}.*\n)*? {4}memorySize: (\d+)/.exec(read('serverless.yml'))?.[1]);
    const functionsMb = Number(/instanceMemoryMB: (\d+)/.exec(read('infra/azure/main.bicep'))?.[1]);
    const looks = 730 * 60;
    const dollars = (cloud: Cloud, megabytes: number) =>
      looks * ((megabytes * gigabyteSecondPrices[cloud]) / 1024 + unitPrices[cloud].function_call);
    expect(Number(/\$(\d+\.\d+) as a Lambda/.exec(doc)?.[1])).toBeCloseTo(dollars('aws', lambdaMb), 1);
    expect(Number(/\$(\d+\.\d+) as a Function/.exec(doc)?.[1])).toBeCloseTo(dollars('azure', functionsMb), 1);
  });

  test.each(scheduledDrills(null, clouds).map(({ file }): [string, DrillSource] => [file.title, file]))(
    'one %s, its own calls',
    async (title, file) => {
      const drills = await DrillWorld.start();
      const counts = none();
      const core = counted(drills.cores.azure, counts);
      const task = (async () => {
        const started = await startDrill(core, drills.deps('runner'), drills.order(file));
        if (started.status !== 'started') throw new Error(JSON.stringify(started));
        return started.run.run();
      })();
      expect(await drills.until(task)).toMatchObject({ status: 'ended', report: { verdict: { outcome: 'passed' } } });
      expectStated(title, counts);
    },
  );
});
