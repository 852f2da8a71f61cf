/**
 * Redrive of a million unfinished lines (20,000 pointers), counted on metered in-memory stores and queues: calls and
 * bytes, and from them the time that the services' limits leave, in virtual time. Goal (DESIGN.md section 13): at most 60 s
 * from the first pointer to the last, on SQS and on Service Bus Standard.
 * What the services take is in `support/million.ts`.
 */
import { ManualClock } from '../local/in-memory/clock.ts';
import { InMemoryObjectStore } from '../local/in-memory/object-store.ts';
import { InMemoryQueue } from '../local/in-memory/queue.ts';
import type { Core } from '../shared/core.ts';
import { type ControlEntry, factVersion } from '../shared/journal/facts.ts';
import { sha256 } from '../shared/journal/json.ts';
import { silentLog } from '../shared/ports/log.ts';
import type { Site } from '../shared/ports/site.ts';
import { defaultSettings } from '../shared/settings.ts';
import { sweep } from '../shared/worker/index.ts';
import { batches, type Limits, place, pointers, queueWith, sendingMs, services } from './support/million.ts';

const goalMs = 60_000;

let isMet = true;
for (const limits of services) {
  const report = await run(limits);
  isMet &&= report.lastMs <= goalMs && report.sent === pointers;
  const { sent, calls, bytes, ticks, lastMs, busiest, puts, gets, lists } = report;
  console.log(
    `${limits.name}: ${sent} pointers in ${calls} calls of the queue, ${(bytes / 1e6).toFixed(1)} MB, ${ticks} ticks; ` +
      `at most ${busiest} messages/s; last one after ${(lastMs / 1000).toFixed(1)} s (goal ≤ ${goalMs / 1000} s); ` +
      `store calls: ${puts} put, ${gets} get, ${lists} list`,
  );
}
process.exitCode = isMet ? 0 : 1;

/** Fails one cloud over to the other, ticks its sweeper until nothing is left, and adds up what that took. */
async function run(limits: Limits) {
  const clock = new ManualClock();
  const self = limits.name;
  const dark = self === 'aws' ? 'azure' : 'aws';
  let meter = { sent: 0, calls: 0, bytes: 0, ms: 0 };
  const sites = new Map(([self, dark] as const).map((id) => [id as string, memorySite(id, clock)] as const));
  const own = sites.get(self)!;
  const inner = own.site.work;
  const metered = queueWith(inner, {
    async send(messages) {
      const { calls, ms } = sendingMs(messages, limits);
      const bytes = messages.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
      meter.sent += messages.length;
      meter.calls += calls;
      meter.bytes += bytes;
      meter.ms += ms;
      await inner.send(messages);
    },
  });
  sites.set(self, { ...own, site: { ...own.site, work: metered } });
  const control = entry(dark);
  let draws = 0;
  const core: Core = {
    self,
    sites: new Map([...sites].map(([id, { site }]) => [id, site])),
    clock,
    random: () => 0.5,
    ids: { uuid: () => sha256(String(draws++)).slice(0, 32) },
    log: silentLog,
    settings: defaultSettings,
    control: { current: async () => control },
    models: { sitesFor: () => ['aws', 'azure'] },
    batching: { run: async () => [] },
    callbacks: { batchEnded: async () => true },
  };
  for (let i = 0; i < batches; i++) await place(core, dark, i);
  const from = clock.now();
  const before = { ...own.journal.calls };
  const total = { sent: 0, calls: 0, bytes: 0, ticks: 0, lastMs: 0, busiest: 0 };
  for (let tick = 0; tick < 100 && total.sent < pointers; tick++) {
    meter = { sent: 0, calls: 0, bytes: 0, ms: 0 };
    const { redrive, failed } = await sweep(core);
    if (failed > 0) throw new Error('the sweeper failed');
    if (redrive.left === 0 && total.sent + meter.sent < pointers) throw new Error('it says that nothing is left');
    total.sent += meter.sent;
    total.calls += meter.calls;
    total.bytes += meter.bytes;
    total.ticks += 1;
    total.lastMs = clock.now() - from + meter.ms;
    // A tick begins when it is due, or when the one before it has ended.
    const tickMs = Math.max(core.settings.tickMs, meter.ms);
    total.busiest = Math.max(total.busiest, Math.round(meter.sent / (tickMs / 1000)));
    await clock.advance(tickMs);
  }
  const after = own.journal.calls;
  return {
    ...total,
    puts: after.putIfAbsent - before.putIfAbsent,
    gets: after.get - before.get,
    lists: after.list - before.list,
  };
}

function memorySite(id: 'aws' | 'azure', clock: ManualClock) {
  const journal = new InMemoryObjectStore(`${id}/journal`);
  const site: Site = {
    id,
    cloud: id,
    journal,
    state: new InMemoryObjectStore(`${id}/state`),
    intake: new InMemoryQueue({ name: `${id}/intake`, clock }),
    work: new InMemoryQueue({ name: `${id}/work`, clock }),
  };
  return { site, journal };
}

function entry(dark: string): ControlEntry {
  const site = (cloud: 'aws' | 'azure') => {
    const state = cloud === dark ? ('fenced' as const) : ('active' as const);
    return { cloud, region: 'local', generation: 1, state, weight: 50, fencedEpoch: cloud === dark ? 2 : 0 };
  };
  return {
    v: factVersion,
    kind: 'control',
    epoch: 2,
    previous: '0'.repeat(64),
    at: 0,
    actor: 'bench',
    reason: 'failover',
    operation: 'bench',
    evidence: [],
    forced: [],
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    frozen: false,
    moves: [],
  };
}
