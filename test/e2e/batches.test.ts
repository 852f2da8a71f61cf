import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { PurgeQueueCommand, SQSClient } from '@aws-sdk/client-sqs';
import { ServiceBusClient } from '@azure/service-bus';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type OpenAI from 'openai';
import { toFile } from 'openai';
import { serviceBusConnection } from '../../local/config.ts';
import { dispatchesPrefix, openPrefix } from '../../shared/journal/keys.ts';
import { listAll } from '../../shared/ports/object-store.ts';
import { bootMs, childrenOf, sampleFile, startClouds, type TestClouds, until } from './support.ts';

let world: TestClouds;
beforeAll(async () => {
  world = await startClouds();
}, bootMs);
afterAll(() => world.stop(), 30_000);

type Batch = OpenAI.Batch;
const both = ['aws', 'azure'] as const;
type Cloud = (typeof both)[number];
const other = (cloud: Cloud): Cloud => (cloud === 'aws' ? 'azure' : 'aws');

async function submit(cloud: Cloud, file: string, endpoint: Batch['endpoint']): Promise<Batch> {
  const client = world.client(cloud);
  const uploaded = await client.files.create({ file: createReadStream(file), purpose: 'batch' });
  return client.batches.create({
    input_file_id: uploaded.id,
    endpoint: endpoint as '/v1/chat/completions',
    completion_window: '24h',
  });
}

/** A file of `lines` chat requests of our own. */
async function submitGenerated(cloud: Cloud, lines: number, name: string): Promise<Batch> {
  const client = world.client(cloud);
  const text = Array.from({ length: lines }, (_, i) => {
    const messages = [
      { role: 'user', content: `Passage ${i} of ${name}. It speaks of harbours. What does it speak of?` },
    ];
    const body = { model: name, messages, max_tokens: 40 };
    return `${JSON.stringify({ custom_id: `${name}-${i}`, method: 'POST', url: '/v1/chat/completions', body })}\n`;
  }).join('');
  const file = await client.files.create({ file: await toFile(Buffer.from(text), `${name}.jsonl`), purpose: 'batch' });
  return client.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
}

async function ended(cloud: Cloud, id: string, ms = 180_000): Promise<Batch> {
  const look = async () => {
    const batch = await world.client(cloud).batches.retrieve(id);
    return ['completed', 'failed', 'expired', 'cancelled'].includes(batch.status) ? batch : undefined;
  };
  return until(look, `${id} to end, as ${cloud} tells it`, ms);
}

async function content(cloud: Cloud, id: string | null | undefined): Promise<Buffer> {
  if (id == null) return Buffer.alloc(0);
  return Buffer.from(await (await world.client(cloud).files.content(id)).arrayBuffer());
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const customIds = (jsonl: Buffer) =>
  jsonl
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).custom_id as string);

/** Every id once, from either cloud, in files of the same bytes. */
async function expectComplete(batch: Batch, ids: string[]): Promise<void> {
  expect(batch.status).toBe('completed');
  expect(batch.request_counts).toEqual({ total: ids.length, completed: ids.length, failed: 0 });
  const [aws, azure] = await Promise.all(both.map((cloud) => content(cloud, batch.output_file_id)));
  expect(sha256(aws!)).toBe(sha256(azure!));
  expect(customIds(aws!)).toEqual(ids);
}

async function dispatches({ id }: Batch): Promise<number> {
  const journal = world.core.sites.get('aws')!.journal;
  return (await Array.fromAsync(listAll(journal, dispatchesPrefix('local', id)))).length;
}

const model = (cloud: Cloud) => `http://127.0.0.1:${world.ports[cloud].model}/control`;
async function slowModels(name: string, ms: number): Promise<void> {
  for (const cloud of both) {
    const body = JSON.stringify({ latency: { ms } });
    const set = await fetch(`${model(cloud)}/behaviour/${name}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect(set.ok).toBe(true);
  }
}

async function answeredSome(cloud: Cloud, { id }: Batch): Promise<Batch> {
  const look = async () => {
    const batch = await world.client(cloud).batches.retrieve(id);
    return (batch.request_counts?.completed ?? 0) > 0 ? batch : undefined;
  };
  return until(look, `some lines of ${id}`);
}

describe('the official openai client, unmodified', () => {
  test('both files to both clouds at once: every custom_id comes back once, from either cloud, in equal bytes', async () => {
    const chat = sampleFile('gsm8k-chat');
    const embeddings = sampleFile('gsm8k-embeddings');
    const jobs = both.flatMap((cloud) => [
      { cloud, file: chat, endpoint: '/v1/chat/completions' },
      { cloud, file: embeddings, endpoint: '/v1/embeddings' },
    ]);
    await Promise.all(
      jobs.map(async ({ cloud, file, endpoint }) => {
        const batch = await submit(cloud, file, endpoint);
        expect(batch.status).toBe('validating');
        const read = await world.client(other(cloud)).batches.retrieve(batch.id);
        expect(read).toMatchObject({ id: batch.id, created_at: batch.created_at, input_file_id: batch.input_file_id });
        await expectComplete(await ended(other(cloud), batch.id), customIds(readFileSync(file)));
        // Nothing was disturbed, so nothing was sent twice.
        expect(await dispatches(batch)).toBe(1);
      }),
    );
  }, 300_000);

  test('lists are the same on both clouds, newest first, page by page', async () => {
    const pages = await Promise.all(
      both.map(async (cloud) => {
        const ids: string[] = [];
        for await (const { id } of world.client(cloud).batches.list({ limit: 2 })) ids.push(id);
        return ids;
      }),
    );
    expect(pages[0]).toHaveLength(4);
    expect(pages[0]).toEqual(pages[1]);
  });

  test('a batch that is cancelled ends as cancelled: answered lines in one file, the others in the other', async () => {
    await slowModels('cancel', 3_000);
    const batch = await submitGenerated('aws', 300, 'cancel');
    await answeredSome('azure', batch);
    expect((await world.client('azure').batches.cancel(batch.id)).status).toBe('cancelling');
    const end = await ended('aws', batch.id);
    expect(end.status).toBe('cancelled');
    const output = customIds(await content('aws', end.output_file_id));
    const errors = customIds(await content('azure', end.error_file_id));
    expect([...output, ...errors].sort()).toEqual(Array.from({ length: 300 }, (_, i) => `cancel-${i}`).sort());
    expect(errors.length).toBeGreaterThan(0);
  }, 240_000);
});

describe('crashes', () => {
  test('kill -9 of every function host in mid-batch: the batches complete, each id once', async () => {
    await slowModels('killed', 1_500);
    const batches = [await submitGenerated('aws', 400, 'killed'), await submitGenerated('azure', 400, 'killed')];
    await Promise.all(batches.map((batch) => answeredSome('aws', batch)));
    const hosts = both.flatMap((cloud) => childrenOf(world.clouds[cloud]!.pid));
    expect(hosts.length).toBeGreaterThanOrEqual(2);
    for (const pid of hosts) process.kill(pid, 'SIGKILL');
    for (const batch of batches)
      await expectComplete(
        await ended('azure', batch.id),
        Array.from({ length: 400 }, (_, i) => `killed-${i}`),
      );
  }, 400_000);

  test('both queues purged in mid-run: the sweeper sends again what is missing, each id comes back once', async () => {
    await slowModels('purged', 1_500);
    const batches = [await submitGenerated('aws', 400, 'purged'), await submitGenerated('azure', 400, 'purged')];
    await Promise.all(batches.map((batch) => answeredSome('aws', batch)));
    await purgeQueues();
    for (const batch of batches)
      await expectComplete(
        await ended('aws', batch.id),
        Array.from({ length: 400 }, (_, i) => `purged-${i}`),
      );
  }, 400_000);

  test('after all of that no hint is open, and no message is dead', async () => {
    const { core } = world;
    await until(async () => {
      const open = [];
      // The monitors' own canaries come and go.
      for (const { state } of core.sites.values())
        open.push(...(await Array.fromAsync(listAll(state, `${openPrefix}local/`))));
      return open.length === 0 ? true : undefined;
    }, 'every hint to be closed');
    for (const { work, intake } of core.sites.values())
      for (const queue of [work, intake]) expect((await queue.depth()).deadLettered).toBe(0);
  }, 150_000);
});

/** Everything that waits is gone; what is being worked is not touched. */
async function purgeQueues(): Promise<void> {
  const sqs = new SQSClient({
    endpoint: `http://127.0.0.1:${world.ports.aws.emulator}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  });
  const bus = new ServiceBusClient(serviceBusConnection(world.ports.azure.amqp));
  for (const name of ['holdfast-intake', 'holdfast-work']) {
    const QueueUrl = `http://127.0.0.1:${world.ports.aws.emulator}/000000000000/${name}`;
    await sqs.send(new PurgeQueueCommand({ QueueUrl }));
    const receiver = bus.createReceiver(name, { receiveMode: 'receiveAndDelete' });
    while ((await receiver.receiveMessages(500, { maxWaitTimeInMs: 300 })).length > 0);
    await receiver.close();
  }
  await bus.close();
  sqs.destroy();
}
