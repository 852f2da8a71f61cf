import { createReadStream } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { portsOf } from '../../local/ports.ts';
import { batchFileBytesMax, batchLinesMax } from '../../shared/limits.ts';
import { chatLine, customIdOf, type GeneratedFile, generateFile, holdfast, watchMemory } from './files.ts';
import { bootMs, childrenOf, startClouds, type TestClouds, until } from './support.ts';

const clouds = ['aws', 'azure'] as const;
type Cloud = (typeof clouds)[number];

/** What the function hosts may grow by while a file of the greatest size is taken and planned. */
const growthBytesMax = 150_000_000;
/** The longest lines of which 50,000 fit into the largest file. */
const lineBytes = Math.floor(batchFileBytesMax / batchLinesMax);
/** No line of the large file is answered before its batch is cancelled. */
const slowModel = 'slow';
const slowMs = 60_000;

let world: TestClouds;
let file: GeneratedFile;
let hosts: Record<Cloud, number>;

beforeAll(async () => {
  [world, file] = await Promise.all([startClouds(), generateFile(batchLinesMax, lineBytes, slowModel)]);
  const hostOf = (cloud: Cloud) => childrenOf(world.clouds[cloud]!.pid)[0]!;
  hosts = { aws: hostOf('aws'), azure: hostOf('azure') };
  await Promise.all(clouds.map((cloud) => slowDown(cloud)));
  await Promise.all(clouds.map((cloud) => warmUp(cloud)));
}, bootMs);

afterAll(async () => {
  file?.remove();
  await world?.stop();
}, 30_000);

test('a file of 200 MiB and 50,000 lines is what is sent', () => {
  expect(file.bytes).toBeLessThanOrEqual(batchFileBytesMax);
  expect(file.bytes).toBeGreaterThan(200_000_000);
  expect(file.lines).toBe(50_000);
});

describe('a file of 200 MB and 50,000 lines is taken, planned and cancelled in bounded memory', () => {
  test('azure, by the unmodified openai client', async () => {
    const client = new OpenAI({ baseURL: world.clouds.azure!.api, apiKey: world.clouds.key });
    await takesPlansAndCancels('azure', async () => {
      const uploaded = await client.files.create({ file: createReadStream(file.path), purpose: 'batch' });
      expect(uploaded).toMatchObject({ bytes: file.bytes, holdfast: { sha256: file.sha256 } });
      const request = { endpoint: '/v1/chat/completions', completion_window: '24h' } as const;
      return (await client.batches.create({ input_file_id: uploaded.id, ...request })).id;
    });
  }, 120_000);

  // Azure takes the same form from `holdfast submit` as from the openai client, so once is enough.
  test.each(['aws'] as const)(
    '%s, by holdfast submit',
    async (cloud) => {
      await takesPlansAndCancels(cloud, async () => {
        const base = String(world.ports.console);
        const { code, stdout, stderr } = await holdfast([
          'submit',
          file.path,
          '--cloud',
          cloud,
          '--port-base',
          base,
          '--json',
        ]);
        expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
        const answer = JSON.parse(stdout);
        expect(answer.upload).toMatchObject({ cloud, bytes: file.bytes, way: 'presigned' });
        return answer.batch.id;
      });
    },
    120_000,
  );
});

test('aws: a form of 6 MB is refused with 413, in the OpenAI shape, which names /v1/uploads', async () => {
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob([new Uint8Array(6_000_000)]), 'six.jsonl');
  const headers = { authorization: `Bearer ${world.clouds.key}` };
  const response = await fetch(`${world.clouds.aws!.api}/files`, { method: 'POST', headers, body: form });
  const { error } = (await response.json()) as { error: Record<string, unknown> };
  expect(response.status).toBe(413);
  expect(error).toEqual({
    message: expect.stringContaining('/v1/uploads'),
    type: 'invalid_request_error',
    param: null,
    code: 'request_too_large',
  });
});

/** Submits by `submit`, which gives the batch's id, and follows the batch through its plan and its cancellation. */
async function takesPlansAndCancels(cloud: Cloud, submit: () => Promise<string>): Promise<void> {
  const client = world.client(cloud);
  const memory = watchMemory(Object.values(hosts));
  let id: string;
  try {
    id = await submit();
    const planned = await until(async () => {
      const batch = await client.batches.retrieve(id);
      return batch.status === 'validating' ? undefined : batch;
    }, `${id} to be planned`);
    expect(planned).toMatchObject({ status: 'in_progress', request_counts: { total: file.lines } });
  } finally {
    memory.stop();
  }
  for (const [pid, bytes] of memory.growth()) {
    const grown = { host: pid === hosts.aws ? 'aws' : 'azure', bytes };
    expect({ ...grown, isBounded: bytes < growthBytesMax }).toEqual({ ...grown, isBounded: true });
  }

  await client.batches.cancel(id);
  const batch = await until(async () => {
    const now = await client.batches.retrieve(id);
    return now.status === 'cancelled' ? now : undefined;
  }, `${id} to be cancelled`);
  const { total, completed, failed } = batch.request_counts!;
  expect(total).toBe(file.lines);
  expect(completed + failed).toBe(file.lines);
  const errors = (await (await client.files.content(batch.error_file_id!)).text()).trimEnd().split('\n');
  const lines = errors.map((line) => JSON.parse(line));
  expect(lines).toHaveLength(failed);
  expect(lines.filter(({ error }) => error.code === 'batch_cancelled')).toHaveLength(file.lines - completed);
  expect(new Set(lines.map(({ custom_id }) => custom_id)).size).toBe(failed);
  expect(lines[0].custom_id).toBe(customIdOf(0));
}

/** Makes one model of the cloud's model server answer late. */
async function slowDown(cloud: Cloud): Promise<void> {
  const { model } = portsOf(world.ports.console)[cloud];
  const response = await fetch(`http://127.0.0.1:${model}/control/behaviour/${slowModel}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ latency: { ms: slowMs } }),
  });
  expect(response.status).toBe(200);
}

/** What a host loads once must not count: every kind of function has run, several of them at once. */
async function warmUp(cloud: Cloud): Promise<void> {
  const client = world.client(cloud);
  await Promise.all(Array.from({ length: 8 }, () => client.files.list()));
  const text = Array.from({ length: 1_000 }, (_, i) => chatLine(customIdOf(i), 'warm')).join('\n');
  const input = await client.files.create({ file: new File([text], 'warm.jsonl'), purpose: 'batch' });
  const request = { input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h' } as const;
  // The home of a batch is drawn: some until this host has planned and worked two.
  const batches: OpenAI.Batch[] = [];
  for (let here = 0; here < 2; ) {
    const batch = await client.batches.create(request);
    batches.push(batch);
    if ((batch as unknown as { holdfast: { home: string } }).holdfast.home === cloud) here += 1;
  }
  for (const { id } of batches)
    await until(async () => {
      const { status } = await client.batches.retrieve(id);
      return status === 'completed' ? status : undefined;
    }, `${id} to complete`);
}
