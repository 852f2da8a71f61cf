import { createHash } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  chooseUpload,
  createClient,
  type HoldfastApiError,
  type HoldfastClient,
  type UploadWay,
} from '../../../client/index.ts';
import { fileContentKey } from '../../../shared/journal/keys.ts';
import { inputLines } from '../../support/world.ts';
import { Clouds, Folder, secret } from '../cli/support.ts';

const MiB = 1024 * 1024;

test.each<[number, 'aws' | 'azure', UploadWay]>([
  [0, 'aws', 'form'],
  [4 * MiB, 'aws', 'form'],
  [4 * MiB + 1, 'aws', 'parts'],
  [32 * MiB, 'aws', 'parts'],
  [32 * MiB + 1, 'aws', 'presigned'],
  [200 * MiB, 'aws', 'presigned'],
  [4 * MiB + 1, 'azure', 'form'],
  [200 * MiB, 'azure', 'form'],
])('a file of %d bytes goes to %s as %s', (bytes, cloud, way) => {
  expect(chooseUpload(bytes, cloud)).toBe(way);
});

test.each([
  ['no address at all', {}],
  ['an address that is none', { aws: 'nowhere' }],
  ['another scheme', { azure: 'file:///etc/passwd' }],
])('a client is refused %s', (_, addresses) => {
  expect(() => createClient({ key: 'k', ...addresses })).toThrow(Error);
});

describe('a client of both clouds', () => {
  let clouds: Clouds;
  let client: HoldfastClient;
  beforeEach(async () => {
    clouds = await Clouds.start();
    client = createClient({ ...clouds.url, key: secret, retryForMs: 5_000, sleep: async () => {} });
  });
  afterEach(() => clouds.close());

  const content = inputLines(2).replaceAll('hello', 'x'.repeat(5 * MiB));
  const sha256 = createHash('sha256').update(content).digest('hex');
  const file = () => new File([content], 'big.jsonl');

  test.each<[UploadWay | undefined, UploadWay]>([
    ['presigned', 'presigned'],
    [undefined, 'parts'],
  ])('a file longer than one request arrives whole in both clouds: %s', async (asked, taken) => {
    const sent: number[] = [];
    const options = { ...(asked && { way: asked }), onProgress: (bytes: number) => sent.push(bytes) };
    const uploaded = await client.files.upload(file(), options);
    expect(uploaded).toMatchObject({ cloud: 'aws', way: taken, file: { filename: 'big.jsonl', holdfast: { sha256 } } });
    for (const { journal } of [clouds.world.aws, clouds.world.azure]) {
      const found = await journal.get(fileContentKey('acme', uploaded.file.id));
      expect(createHash('sha256').update(found!.bytes).digest('hex')).toBe(sha256);
    }
    expect(sent).toEqual(sent.toSorted((x, y) => x - y));
    expect(sent.at(0)).toBe(0);
    expect(sent.at(-1)).toBe(content.length);
  });

  test('progress of a form is told while it leaves the disk', async () => {
    const folder = new Folder();
    const sent: number[] = [];
    const blob = await openAsBlob(folder.file('big.jsonl', content));
    await client.on('azure').files.upload(blob, { onProgress: (bytes) => sent.push(bytes) });
    folder.remove();
    expect(sent.length).toBeGreaterThan(content.length / 1_000_000);
    expect(sent.at(-1)).toBe(content.length);
  });

  test('a cloud that grants no presigned address gets parts', async () => {
    const refusal = { error: { message: 'no', type: 't', param: 'presigned', code: 'presigned_unavailable' } };
    let refused = 0;
    clouds.fate = ({ cloud, path }) =>
      cloud === 'aws' && path === '/v1/uploads' && refused++ === 0
        ? Response.json(refusal, { status: 400 })
        : undefined;
    const blob = new File(['x'.repeat(33 * MiB)], 'huge.jsonl');
    expect(await client.files.upload(blob)).toMatchObject({ cloud: 'aws', way: 'parts' });
  }, 120_000);

  test('a cloud that breaks off in the middle of parts: the whole file goes to the other, and nothing half stays', async () => {
    clouds.fate = ({ cloud, path }) => (cloud === 'aws' && path.endsWith('/complete') ? 'reset' : undefined);
    const uploaded = await client.files.upload(file());
    expect(uploaded).toMatchObject({ cloud: 'azure', way: 'form' });
    expect((await client.files.list()).data.map(({ id }) => id)).toEqual([uploaded.file.id]);
  });

  test('a 503 with Retry-After is waited out, and told', async () => {
    const told: number[] = [];
    let refused = 0;
    const busy = { error: { message: 'later', type: 'server_error', param: null, code: 'busy' } };
    clouds.fate = () =>
      refused++ < 2 ? Response.json(busy, { status: 503, headers: { 'retry-after': '2' } }) : undefined;
    const patient = createClient({
      ...clouds.url,
      key: secret,
      sleep: async () => {},
      onRetry: ({ waitMs }) => told.push(waitMs),
    });
    expect((await patient.batches.list()).data).toEqual([]);
    expect(told).toEqual([2_000]);
  });

  test('a refusal of the API carries status, code, param and request id', async () => {
    const error: HoldfastApiError = await client.batches
      .create({ input_file_id: 'file-none', endpoint: '/v1/embeddings' })
      .then(() => Promise.reject(new Error('accepted')))
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ name: 'HoldfastApiError', status: 404, code: 'not_found', param: 'input_file_id' });
    expect(error.requestId).toMatch(/^req_/);
  });

  test('submit, wait, read: the answer is the same from either cloud', async () => {
    const { file: input } = await client.files.upload(new File([inputLines(12)], 'in.jsonl'));
    const created = await client.batches.create({ input_file_id: input.id, endpoint: '/v1/chat/completions' });
    const statuses: string[] = [];
    const ended = await client.batches.wait(created.id, { onChange: ({ status }) => statuses.push(status) });
    expect(ended.request_counts).toEqual({ total: 12, completed: 12, failed: 0 });
    expect(ended.holdfast.answered_by).toEqual({ [ended.holdfast.home]: 12 });
    expect(statuses.at(-1)).toBe('completed');
    const read = async (cloud: 'aws' | 'azure') => (await client.on(cloud).files.content(ended.output_file_id!)).text();
    expect(await read('aws')).toBe(await read('azure'));
  });

  test('waiting goes on while no cloud answers', async () => {
    const { file: input } = await client.files.upload(new File([inputLines(1)], 'in.jsonl'));
    const created = await client.batches.create({ input_file_id: input.id, endpoint: '/v1/chat/completions' });
    let broken = 0;
    clouds.fate = () => (broken++ < 6 ? 'reset' : undefined);
    let troubles = 0;
    const impatient = createClient({ ...clouds.url, key: secret, retryForMs: 0, sleep: async () => {} });
    const ended = await impatient.batches.wait(created.id, { onTrouble: () => (troubles += 1) });
    expect(ended.status).toBe('completed');
    expect(troubles).toBe(3);
  });
});
