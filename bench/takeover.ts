/**
 * A cloud goes dark with a million lines in its queue (20,000 pointers). How long until the other one has the first result
 * of them, in virtual time, under profile `balanced`? Nothing is short-cut: the survivor's own monitor and a third observer
 * look, judge, decide, commit by registers and redrive, over stores and queues of the dark cloud that swallow every call;
 * its queue takes messages as fast as the service does; a worker takes the first chunk, and the model takes its time.
 * Goals (DESIGN.md section 13, issue 4): first result ≤ 120 s after the fault, last pointer ≤ 60 s after the first.
 */
import { ManualClock } from '../local/in-memory/clock.ts';
import { Faults } from '../local/in-memory/faults.ts';
import { faultyQueue, faultyStore } from '../local/in-memory/faulty.ts';
import { InMemoryObjectStore, type StoreOp } from '../local/in-memory/object-store.ts';
import { InMemoryQueue, type QueueOp } from '../local/in-memory/queue.ts';
import { seededRandom } from '../local/model-server/random.ts';
import { initControl } from '../shared/control/init.ts';
import { controlView } from '../shared/control/log.ts';
import { tendSite } from '../shared/control/tend.ts';
import type { Core } from '../shared/core.ts';
import { SiteUnavailableError } from '../shared/errors.ts';
import { type MonitorDeps, monitorTick } from '../shared/health/monitor.ts';
import { observe, observeMemory } from '../shared/health/observe.ts';
import { noUsage } from '../shared/journal/facts.ts';
import { sha256 } from '../shared/journal/json.ts';
import { silentLog } from '../shared/ports/log.ts';
import type { Queue } from '../shared/ports/queue.ts';
import type { Site } from '../shared/ports/site.ts';
import { defaultSettings } from '../shared/settings.ts';
import { work } from '../shared/worker/index.ts';
import {
  batches,
  type Limits,
  place,
  placeInput,
  pointers,
  queueWith,
  sendingMs,
  services,
} from './support/million.ts';

const settings = { ...defaultSettings, failover: 'automatic' as const };
const goalMs = { firstResult: 120_000, enqueue: 60_000 };
/** What a call that nobody answers takes until its caller gives it up by itself. */
const swallowedMs = 60_000;
/** A chunk of chats. */
const modelMs = 8_000;

let isMet = true;
for (const limits of services) {
  const { detectedMs, sentMs, lastMs, firstResultMs, sent } = await run(limits);
  isMet &&= firstResultMs <= goalMs.firstResult && lastMs - sentMs <= goalMs.enqueue && sent >= pointers;
  const s = (ms: number) => (ms / 1000).toFixed(1);
  console.log(
    `${limits.name}: failed over ${s(detectedMs)} s after the fault; first pointer redriven after ${s(sentMs)} s, ` +
      `first result after ${s(firstResultMs)} s (goal ≤ ${goalMs.firstResult / 1000} s); ` +
      `${sent} pointers, the last one ${s(lastMs - sentMs)} s after the first (goal ≤ ${goalMs.enqueue / 1000} s)`,
  );
}
process.exitCode = isMet ? 0 : 1;

/** One takeover by the cloud that `limits` are of. All times since the fault. */
async function run(limits: Limits) {
  const clock = new ManualClock();
  const self = limits.name;
  const dark = self === 'aws' ? 'azure' : 'aws';
  const seen = { sent: 0, sentAt: 0, lastAt: 0, resultAt: 0 };
  const [own, other] = [newSite(self, clock), newSite(dark, clock)];
  own.site = {
    ...own.site,
    work: paced(own.site.work, limits, clock, (count) => {
      seen.sentAt ||= clock.now();
      seen.lastAt = clock.now();
      seen.sent += count;
    }),
  };
  const witness = {
    id: 'witness',
    state: new InMemoryObjectStore('witness/state'),
    journal: new InMemoryObjectStore('witness/journal'),
  };
  let draws = 0;
  const core = (id: 'aws' | 'azure'): Core => {
    const bare: Core = {
      self: id,
      sites: new Map([own, other].map(({ site }) => [site.id, site])),
      witness,
      clock,
      random: seededRandom(4),
      ids: { uuid: () => sha256(String(draws++)).slice(0, 32) },
      log: silentLog,
      settings,
      control: { current: async () => Promise.reject(new Error('not learned')) },
      models: { sitesFor: () => ['aws', 'azure'] },
      batching: {
        run: async ({ lines }) => {
          await clock.sleep(modelMs);
          return lines.map(({ line, customId }) => ({
            outcome: 'answered',
            line,
            customId,
            status: 200,
            requestId: `r${line}`,
            body: { object: 'chat.completion' },
            servedBy: { site: id, backend: id, model: 'm' },
            usage: noUsage,
          }));
        },
      },
      callbacks: { batchEnded: async () => true },
    };
    return { ...bare, control: controlView(bare) };
  };
  const cores = { [self]: core(self), [dark]: core(dark), third: core(self) };
  const ready = initControl(cores[self]!, {
    sites: { aws: { cloud: 'aws', region: 'local' }, azure: { cloud: 'azure', region: 'local' } },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    actor: 'bench',
    reason: 'first entry',
  });
  await until(clock, ready);
  await placeInput(cores[self]!);

  const memory = observeMemory();
  const tick = (isDark: boolean) =>
    Promise.all([
      monitorTick(cores[self]!, deps(self, self, isDark ? dark : undefined)),
      ...(isDark ? [] : [monitorTick(cores[dark]!, deps(dark, dark, undefined))]),
      observe(cores.third!, deps('third', null, isDark ? dark : undefined), memory),
    ]);
  const ticks = async (isDark: boolean, isOver: () => boolean) => {
    while (!isOver()) {
      const next = clock.now() + settings.tickMs;
      const ticking = tick(isDark);
      let hasEnded = false;
      const ended = ticking.then(() => {
        hasEnded = true;
      });
      // A tick that takes longer delays the next one.
      while (clock.now() < next || !hasEnded) {
        void poll();
        await clock.advance(250);
      }
      await ended;
    }
  };
  let polling = false;
  /** One invocation of the survivor's worker at a time, of ten messages, is the least that runs. */
  const poll = async () => {
    if (polling) return;
    polling = true;
    const queue = own.site.work;
    const messages = await queue.receive({ max: 10 });
    await work(
      cores[self]!,
      messages.map((message) => ({
        body: message.body,
        deliveryCount: message.deliveryCount,
        extend: (leaseMs) => queue.extend(message, leaseMs),
        settle: async ({ kind }) => {
          await (kind === 'complete' ? queue.complete(message) : queue.giveBack(message, 0));
          if (kind === 'complete' && seen.sent > 0) seen.resultAt ||= clock.now();
        },
      })),
    );
    polling = false;
  };

  // Long enough that everybody knows that all is well.
  let quiet = 0;
  await ticks(false, () => quiet++ >= 12);
  for (let i = 0; i < batches; i++) await place(cores[self]!, dark, i);
  const faultAt = clock.now();
  swallow(other, clock);
  let detectedAt = 0;
  await ticks(true, () => {
    if (clock.now() - faultAt > 600_000) throw new Error('not within ten minutes');
    return seen.sent >= pointers && seen.resultAt > 0;
  });
  const entry = await cores[self]!.control.current();
  detectedAt = entry.at;
  const since = (at: number) => at - faultAt;
  return {
    detectedMs: since(detectedAt),
    sentMs: since(seen.sentAt),
    lastMs: since(seen.lastAt),
    firstResultMs: since(seen.resultAt),
    sent: seen.sent,
  };
}

function deps(observer: string, home: 'aws' | 'azure' | null, dark: string | undefined): MonitorDeps {
  return {
    observer,
    home,
    fetchHealth: async (site) => {
      if (site === dark) throw new SiteUnavailableError('timeout', 'no door', site);
    },
    probeModel: async () => {},
    references: ['one', 'two', 'three'],
    reachReference: async () => {},
    act: (core, observations) => tendSite(core, observations),
  };
}

interface MemorySite {
  site: Site;
  storeFaults: Faults<StoreOp>;
  queueFaults: Faults<QueueOp>;
}

function newSite(id: 'aws' | 'azure', clock: ManualClock): MemorySite {
  const storeFaults = new Faults<StoreOp>(clock, () => 0.5);
  const queueFaults = new Faults<QueueOp>(clock, () => 0.5);
  const store = (name: string) => faultyStore(new InMemoryObjectStore(`${id}/${name}`), storeFaults);
  const queue = (name: string) => faultyQueue(new InMemoryQueue({ name: `${id}/${name}`, clock }), queueFaults);
  const site: Site = {
    id,
    cloud: id,
    journal: store('journal'),
    state: store('state'),
    intake: queue('intake'),
    work: queue('work'),
  };
  return { site, storeFaults, queueFaults };
}

/** Every call to the site goes out and nothing comes back. */
function swallow({ storeFaults, queueFaults, site }: MemorySite, clock: ManualClock): void {
  const never = async () => {
    await clock.sleep(swallowedMs);
    throw new SiteUnavailableError('timeout', 'no answer', site.id);
  };
  storeFaults.before = never;
  queueFaults.before = never;
}

/** A queue that takes as many messages a second as the service does, one send after the other. */
function paced(queue: Queue, limits: Limits, clock: ManualClock, sent: (count: number) => void): Queue {
  let freeAt = 0;
  return queueWith(queue, {
    async send(messages) {
      const { ms } = sendingMs(messages, limits);
      freeAt = Math.max(freeAt, clock.now()) + Math.ceil(ms);
      await clock.sleep(freeAt - clock.now());
      await queue.send(messages);
      sent(messages.length);
    },
  });
}

/** Moves the clock until `task` has ended. */
async function until<T>(clock: ManualClock, task: Promise<T>): Promise<T> {
  let isOver = false;
  const watched = task.finally(() => {
    isOver = true;
  });
  watched.catch(() => {});
  while (!isOver) await clock.advance(100);
  return watched;
}
