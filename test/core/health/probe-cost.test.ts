import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { InMemoryObjectStore } from '../../../local/in-memory/object-store.ts';
import type { InMemoryQueue } from '../../../local/in-memory/queue.ts';
import type { Consumers } from '../../../shared/control/consumers.ts';
import { controlView } from '../../../shared/control/log.ts';
import { tendSite } from '../../../shared/control/tend.ts';
import { type Cloud, gigabyteSecondPrices, unitPrices } from '../../../shared/cost/prices.ts';
import type { MonitorDeps } from '../../../shared/health/monitor.ts';
import { Watched } from './watched.ts';

const doc = readFileSync(join(import.meta.dirname, '../../../docs/operations/probe-cost.md'), 'utf8');
const hours = 2;

/** What may be off before somebody should have written it down: canaries are seldom, and fall into an hour or do not. */
const tolerance = 0.1;

/** US dollars for one call. The witness is on R2, which has no row in the price list of a batch; source in the document. */
const priced = (cloud: Cloud) => {
  const { store_write: write, store_read: read, queue_call: queue } = unitPrices[cloud];
  return { write, read, queue };
};
const prices = { aws: priced('aws'), azure: priced('azure'), witness: { write: 4.5e-6, read: 0.36e-6, queue: 0 } };
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

/**
 * Monitors that do all that deployed ones do: they read the control log through their own store, as `runtime/core.ts` has
 * it, decide, go on with a return, and tend the consumers of their site.
 */
class Tended extends Watched {
  /** Runs of `tendSite`, and calls of the clouds' control planes that they made. */
  tended = 0;
  consumerCalls = 0;
  readonly #consumers: Consumers = {
    name: 'consumers',
    isPaused: async () => {
      this.consumerCalls += 1;
      return false;
    },
    pause: async () => {
      this.consumerCalls += 1;
    },
    resume: async () => {
      this.consumerCalls += 1;
    },
  };

  override async begin(): Promise<this> {
    for (const site of ['aws', 'azure']) {
      const core = this.world.core(site);
      Object.assign(core, { control: controlView(core) });
    }
    return super.begin();
  }

  override deps(observer: string, home: 'aws' | 'azure' | null): MonitorDeps {
    return {
      ...super.deps(observer, home),
      act: async (core, seen) => {
        await tendSite(core, seen, this.#consumers);
        this.tended += 1;
      },
    };
  }
}

describe('what an idle pair costs (docs/operations/probe-cost.md)', () => {
  test('calls an hour and dollars a month are no more than the document says', async () => {
    const watched = await new Tended().begin();
    // The first hour has canaries more often, while trust grows.
    await watched.run(3_600_000);
    const before = snapshot(watched);
    await watched.run(hours * 3_600_000);
    const after = snapshot(watched);
    expect(watched.tended).toBeGreaterThan(2 * 0.95 * (hours + 1) * 360);
    expect(watched.consumerCalls).toBe(0);
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
      for (const [i, cell] of found.split(' ').map(Number).entries())
        if (!(Math.abs(cell - stated[i]!) <= tolerance * stated[i]!))
          throw new Error(`${store}: measured ${found}, the document says ${stated.join(' ')}`);
    }
    const stated = Number(/under \$(\d+) a month/.exec(doc)?.[1]);
    const monitors = Number(/Monitors: \$(\d+\.\d+)/.exec(doc)?.[1]);
    expect(total + monitors).toBeLessThan(stated);
    expect(total + monitors).toBeGreaterThan(0.9 * stated);
    expect(watched.modelCalls).toBe(0);
  });

  test('the time of the monitors is what the templates deploy, at the price list', () => {
    const read = (path: string) => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8');
    const lambdaMb = Number(/\n {2}monitor:\n(?: {4}.*\n)*? {4}memorySize: (\d+)/.exec(read('serverless.yml'))?.[1]);
    const functionsMb = Number(/instanceMemoryMB: (\d+)/.exec(read('infra/azure/main.bicep'))?.[1]);
    const seconds = 730 * 3600;
    // A Lambda that is started each minute and runs all of it.
    const lambda =
      (seconds * lambdaMb * gigabyteSecondPrices.aws) / 1024 + (seconds / 60) * unitPrices.aws.function_call;
    // A timer every ten seconds, each a second of the instance at least.
    const timers = seconds / 10;
    const functions = timers * ((functionsMb * gigabyteSecondPrices.azure) / 1024 + unitPrices.azure.function_call);
    const stated = (what: string) => Number(new RegExp(`${what}: \\$(\\d+\\.\\d+)`).exec(doc)?.[1]);
    expect(stated('Lambda')).toBeCloseTo(lambda, 1);
    expect(stated('Functions')).toBeCloseTo(functions, 1);
    expect(stated('Monitors')).toBeCloseTo(lambda + functions, 1);
  });
});
