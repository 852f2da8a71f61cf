/**
 * A million lines that are accepted, planned and sent, and of which none is answered; and queues that take what the
 * services take. Shared by the benchmarks of redrive.
 *
 * @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html (10 in a batch,
 * 1 MiB; a standard queue takes nearly any number of calls) 2026-11
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling (Standard: 1,000 credits/s in a
 * namespace, one for each message sent) 2026-11
 */
import type { Core } from '../../shared/core.ts';
import {
  type Acceptance,
  type Dispatch,
  factBytes,
  factVersion,
  type Manifest,
  type Plan,
} from '../../shared/journal/facts.ts';
import { sha256 } from '../../shared/journal/json.ts';
import {
  acceptanceKey,
  dispatchKey,
  fileContentKey,
  manifestKey,
  newFileId,
  openKey,
  planKey,
} from '../../shared/journal/keys.ts';
import type { OutgoingMessage, Queue } from '../../shared/ports/queue.ts';

export const batches = 20;
export const linesPerBatch = 50_000;
export const linesPerChunk = 50;
export const pointers = (batches * linesPerBatch) / linesPerChunk;
export const tenant = 'bench';
export const model = 'm';

/** What a service lets one sender do. */
export interface Limits {
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
export const services: Limits[] = [
  // Thirty calls a second is a round trip of 33 ms, as far as a sender in the other cloud would be.
  { name: 'aws', messages: 10, bytes: 1_048_576, callsPerS: 30, senders: 8, messagesPerS: Number.POSITIVE_INFINITY },
  { name: 'azure', messages: 4_500, bytes: 262_144, callsPerS: 30, senders: 1, messagesPerS: 1_000 },
];

/** Time that the calls for `messages` take: the sender's own, or what the service allows, whichever is longer. */
export function sendingMs(messages: readonly OutgoingMessage[], limits: Limits): { calls: number; ms: number } {
  const calls = inCalls(messages, limits);
  const senderMs = ((calls / limits.senders) * 1000) / limits.callsPerS;
  return { calls, ms: Math.max(senderMs, (messages.length * 1000) / limits.messagesPerS) };
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

/** `queue`, with `change` in place of some of its members. */
export function queueWith(queue: Queue, change: Partial<Queue>): Queue {
  return { ...queueMembers(queue), ...change };
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

/** Bytes of one line; all batches have the same input file. */
const lineBytes = 140;
const fileId = newFileId(0, sha256('million'));

/** A line that the worker takes for a request, as long as all others. */
function inputLine(index: number): string {
  const body = { model, messages: [{ role: 'user', content: 'x' }] };
  const line = JSON.stringify({ custom_id: `l${index}`, method: 'POST', url: '/v1/chat/completions', body });
  return `${line.padEnd(lineBytes - 1)}\n`;
}

/** The input file, in both clouds. */
export async function placeInput(core: Core): Promise<void> {
  const input = Buffer.from(Array.from({ length: linesPerBatch }, (_, i) => inputLine(i)).join(''));
  for (const { journal } of core.sites.values()) await journal.putIfAbsent(fileContentKey(tenant, fileId), input);
}

/** A batch that was accepted, planned and dispatched at `home`, of which no line is answered. */
export async function place(core: Core, home: string, index: number): Promise<void> {
  const batch = `batch_${sha256(`batch ${index}`).slice(0, 32)}`;
  const id = { epoch: 1, site: home, uuid: core.ids.uuid() };
  const inputSha256 = sha256('input');
  const v = factVersion;
  const chunkBytes = linesPerChunk * lineBytes;
  const manifest: Manifest = {
    v,
    kind: 'manifest',
    batch,
    tenant,
    endpoint: '/v1/chat/completions',
    inputSha256,
    inputBytes: linesPerBatch * lineBytes,
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
    model,
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
