import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { InMemoryObjectStore } from '../../../local/in-memory/object-store.ts';
import type { InMemoryQueue } from '../../../local/in-memory/queue.ts';
import { Watched } from './watched.ts';

const doc = readFileSync(join(import.meta.dirname, '../../../docs/operations/probe-cost.md'), 'utf8');
const hours = 2;

/** US dollars for one call; sources in the document. */
const prices = {
  aws: { write: 5e-6, read: 0.4e-6, queue: 0.4e-6 },
  azure: { write: 5e-6, read: 0.4e-6, queue: 0.8e-6 },
  witness: { write: 4.5e-6, read: 0.36e-6, queue: 0 },
} as const;
type Store = keyof typeof prices;

interface Counts {
  write: number;
  read: number;
  queue: number;
}

function storeCalls(...stores: InMemoryObjectStore[]): Pick<Counts, 'write' | 'read'> {
  const sum = (pick: (calls: InMemoryObjectStore['calls']) => number) =>
    stores.reduce((total, { calls }) => total + pick(calls), 0);
  return {
    // LIST is priced as a write by all three; DELETE is free.
    write: sum(
      ({ putIfAbsent, putIfMatch, putStreamIfAbsent, list }) => putIfAbsent + putIfMatch + putStreamIfAbsent + list,
    ),
    read: sum(({ get, getStream, head }) => get + getStream + head),
  };
}

const queueCalls = (...queues: InMemoryQueue[]) =>
  queues.reduce(
    (total, { calls }) => total + calls.send + calls.complete + calls.extend + calls.giveBack + calls.depth,
    0,
  );

function snapshot({ world }: Watched): Record<Store, Counts> {
  return {
    aws: { ...storeCalls(world.aws.journal, world.aws.state), queue: queueCalls(world.aws.intake, world.aws.work) },
    azure: {
      ...storeCalls(world.azure.journal, world.azure.state),
      queue: queueCalls(world.azure.intake, world.azure.work),
    },
    witness: { ...storeCalls(world.witness.journal, world.witness.state), queue: 0 },
  };
}

describe('what an idle pair costs (docs/operations/probe-cost.md)', () => {
  test('calls an hour and dollars a month are no more than the document says', async () => {
    const watched = await new Watched().begin();
    // The first hour has canaries more often, while trust grows.
    await watched.run(3_600_000);
    const before = snapshot(watched);
    await watched.run(hours * 3_600_000);
    const after = snapshot(watched);
    let total = 0;
    for (const store of ['aws', 'azure', 'witness'] as const) {
      const each = (kind: keyof Counts) => Math.round((after[store][kind] - before[store][kind]) / hours);
      const dollars = (['write', 'read', 'queue'] as const).reduce(
        (sum, kind) => sum + each(kind) * 730 * prices[store][kind],
        0,
      );
      total += dollars;
      const found = `${each('write')} ${each('read')} ${each('queue')} ${dollars.toFixed(2)}`;
      const row = new RegExp(`\\| ${store} \\| ([\\d,]+) \\| ([\\d,]+) \\| ([\\d,]+) \\| \\$([\\d.]+) \\|`).exec(doc);
      const stated = row?.slice(1).map((cell) => Number(cell.replaceAll(',', ''))) ?? [];
      // A tenth more, or half of it, is a change that somebody should have written down.
      for (const [i, cell] of found.split(' ').map(Number).entries())
        if (cell > 1.1 * (stated[i] ?? -1) || cell < 0.5 * (stated[i] ?? -1))
          throw new Error(`${store}: measured ${found}, the document says ${stated.join(' ')}`);
    }
    const stated = Number(/under \$(\d+) a month/.exec(doc)?.[1]);
    const monitors = Number(/Monitors: \$(\d+\.\d+)/.exec(doc)?.[1]);
    expect(total + monitors).toBeLessThan(stated);
    expect(watched.modelCalls).toBe(0);
  });
});
