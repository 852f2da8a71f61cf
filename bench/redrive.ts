/**
 * Redrive of a million unfinished lines (20,000 pointers), counted on metered in-memory stores and queues: calls and
 * bytes, and from them the time that the services' limits leave, in virtual time. Goal (DESIGN.md section 13): at most 60 s
 * from the first pointer to the last, on SQS and on Service Bus Standard.
 *
 * @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html (10 in a batch,
 * 1 MiB; a standard queue takes nearly any number of calls) 2026-11
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling (Standard: 1,000 credits/s in a
 * namespace, one for each message sent) 2026-11
 */
import { ManualClock } from '../local/in-memory/clock.ts';
import { InMemoryObjectStore } from '../local/in-memory/object-store.ts';
import { InMemoryQueue } from '../local/in-memory/queue.ts';
import type { Core } from '../shared/core.ts';
import {
  type Acceptance,
  type ControlEntry,
  type Dispatch,
  factBytes,
  factVersion,
  type Manifest,
  type Plan,
} from '../shared/journal/facts.ts';
import { sha256 } from '../shared/journal/json.ts';
import { acceptanceKey, dispatchKey, manifestKey, newFileId, openKey, planKey } from '../shared/journal/keys.ts';
import { silentLog } from '../shared/ports/log.ts';
import type { OutgoingMessage, Queue } from '../shared/ports/queue.ts';
import type { Site } from '../shared/ports/site.ts';
import { defaultSettings } from '../shared/settings.ts';
import { sweep } from '../shared/worker/index.ts';

const batches = 20;
const linesPerBatch = 50_000;
const linesPerChunk = 50;
const pointers = (batches * linesPerBatch) / linesPerChunk;
const goalMs = 60_000;

/** What a service lets one sender do. */
interface Limits {
  name: 'aws' | 'azure';
  /** Messages that one call may carry. */
  messages: number;
  bytes: number;
  /** Calls that one of the adapter's senders gets through in a second, and senders at work at once. */
  callsPerS: number;
  senders: number;
  /** Messages a second that the service takes in all. */
  messagesPerS: number;
}
const services: Limits[] = [
  // Thirty calls a second is a round trip of 33 ms, as far as a sender in the other cloud would be.
  { name: 'aws', messages: 10, bytes: 1_048_576, callsPerS: 30, senders: 8, messagesPerS: Number.POSITIVE_INFINITY },
  { name: 'azure', messages: 4_500, bytes: 262_144, callsPerS: 30, senders: 1, messagesPerS: 1_000 },
];

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
  const metered: Queue = {
    ...queueMembers(inner),
    async send(messages) {
      const calls = inCalls(messages, limits);
      const bytes = messages.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
      const senderMs = ((calls / limits.senders) * 1000) / limits.callsPerS;
      const serviceMs = (messages.length * 1000) / limits.messagesPerS;
      meter.sent += messages.length;
      meter.calls += calls;
      meter.bytes += bytes;
      meter.ms += Math.max(senderMs, serviceMs);
      await inner.send(messages);
    },
  };
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

function inCalls(messages: readonly OutgoingMessage[], limits: Limits): number {
  let calls = 0;
  let room = { messages: 0, bytes: 0 };
  for (const { body } of messages) {
    const bytes = Buffer.byteLength(body);
    if (room.messages === 0 || room.bytes < bytes) {
      calls += 1;
      room = { messages: limits.messages, bytes: limits.bytes };
    }
    room = { messages: room.messages - 1, bytes: room.bytes - bytes };
  }
  return calls;
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

function queueMembers(queue: Queue): Queue {
  return {
    name: queue.name,
    send: (...args) => queue.send(...args),
    receive: (...args) => queue.receive(...args),
    complete: (...args) => queue.complete(...args),
    giveBack: (...args) => queue.giveBack(...args),
    deadLetter: (...args) => queue.deadLetter(...args),
    extend: (...args) => queue.extend(...args),
    depth: (...args) => queue.depth(...args),
    close: () => queue.close(),
  };
}

/** A batch that was accepted, planned and dispatched at `home`, of which no line is answered. */
async function place(core: Core, home: string, index: number): Promise<void> {
  const tenant = 'bench';
  const batch = `batch_${sha256(`batch ${index}`).slice(0, 32)}`;
  const fileId = newFileId(0, sha256(String(index)));
  const id = { epoch: 1, site: home, uuid: core.ids.uuid() };
  const inputSha256 = sha256('input');
  const v = factVersion;
  const chunkBytes = linesPerChunk * 1_000;
  const manifest: Manifest = {
    v,
    kind: 'manifest',
    batch,
    tenant,
    endpoint: '/v1/chat/completions',
    inputSha256,
    inputBytes: linesPerBatch * 1_000,
    windowMs: 86_400_000,
    metadata: null,
    outputExpiresAfterMs: null,
    boundTo: null,
  };
  const at = core.clock.now() - 1_000_000;
  const acceptance: Acceptance = {
    v,
    kind: 'acceptance',
    batch,
    tenant,
    at: at + index,
    ...id,
    home,
    fileId,
    receipt: 'dual',
    keyId: 'k',
  };
  const chunks = Array.from({ length: linesPerBatch / linesPerChunk }, (_, i) => ({
    offset: i * chunkBytes,
    length: chunkBytes,
    firstLine: i * linesPerChunk,
    lines: linesPerChunk,
    tokens: 10_000,
  }));
  const plan: Plan = {
    v,
    kind: 'plan',
    batch,
    inputSha256,
    settings: { chunkLinesMax: linesPerChunk, chunkTokensMax: 1, chunkBytesMax: 1 },
    lines: linesPerBatch,
    model: 'm',
    chunks,
    errors: [],
  };
  const ranges = chunks.map(({ firstLine, lines }): [number, number] => [firstLine, lines]);
  const dispatch: Dispatch = {
    v,
    kind: 'dispatch',
    batch,
    at,
    ...id,
    to: home,
    leaseMs: 300_000,
    reason: 'plan',
    ranges,
  };
  for (const { journal, state } of core.sites.values()) {
    await state.putIfAbsent(openKey(tenant, batch), new Uint8Array([1]));
    await journal.putIfAbsent(manifestKey(tenant, batch), factBytes(manifest));
    await journal.putIfAbsent(acceptanceKey(tenant, batch, id), factBytes(acceptance));
    await journal.putIfAbsent(planKey(tenant, batch, sha256(factBytes(plan))), factBytes(plan));
    await journal.putIfAbsent(dispatchKey(tenant, batch, id), factBytes(dispatch));
  }
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
