import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type EmulatorProcess, spawnEmulator } from '../../../test/conformance/emulator-process.ts';
import { type BlobEmulator, startBlobEmulator } from '../blob.ts';

let dataDir: string;
let emulator: EmulatorProcess<BlobEmulator> | undefined;
let service: BlobServiceClient;
let container: ContainerClient;

/** In a process of its own, to be killed; and since what V8 restores there has the classes that azurite looks for. */
const start = async (): Promise<void> => {
  const options = { dataDir, containers: ['journal'] };
  emulator = await spawnEmulator<BlobEmulator>('local/azure-emulator/blob.ts', 'startBlobEmulator', options);
  const { connectionString } = emulator.ready;
  service = BlobServiceClient.fromConnectionString(connectionString, { retryOptions: { maxTries: 1 } });
  container = service.getContainerClient('journal');
};

const kill = async (): Promise<void> => {
  await emulator?.kill();
  emulator = undefined;
};

/** The service's own code for why `call` was refused. */
const refusal = async (call: Promise<unknown>): Promise<unknown> => {
  const error = await call.then(
    () => undefined,
    (reason) => reason,
  );
  return error === undefined ? 'was not refused' : [error.statusCode, error.details?.errorCode ?? error.code];
};

const put = (key: string, text: string, conditions = {}) =>
  container.getBlockBlobClient(key).upload(text, Buffer.byteLength(text), { conditions });
const read = async (key: string) => (await container.getBlobClient(key).downloadToBuffer()).toString();
const block = (name: string) => Buffer.from(name.padEnd(20)).toString('base64');
const absent = { ifNoneMatch: '*' };

const begin = async (): Promise<void> => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-blob-'));
  await start();
};
const end = async (): Promise<void> => {
  await kill();
  await rm(dataDir, { recursive: true });
};

describe('one emulator, a container for each test:', () => {
  let containers = 0;
  beforeAll(begin);
  afterAll(end);
  beforeEach(async () => {
    container = service.getContainerClient(`journal${containers++}`);
    await container.create();
  });

  describe('conditions', () => {
    test('a second create is 409 BlobAlreadyExists, by a put and by a block list', async () => {
      await put('a', 'first', absent);
      expect(await refusal(put('a', 'second', absent))).toEqual([409, 'BlobAlreadyExists']);
      const blob = container.getBlockBlobClient('a');
      await blob.stageBlock(block('1'), 'third', 5);
      expect(await refusal(blob.commitBlockList([block('1')], { conditions: absent }))).toEqual([
        409,
        'BlobAlreadyExists',
      ]);
      expect(await read('a')).toBe('first');
    });

    test('a stale If-Match is 412, for a blob that is there and for one that is not', async () => {
      const { etag } = await put('a', 'first');
      await put('a', 'second', { ifMatch: etag });
      expect(await refusal(put('a', 'third', { ifMatch: etag }))).toEqual([412, 'ConditionNotMet']);
      expect(await refusal(put('b', 'third', { ifMatch: etag }))).toEqual([412, 'ConditionNotMet']);
      expect(await read('a')).toBe('second');
    });

    test('staged blocks do not make a blob: it can still be created, and then they are gone', async () => {
      const blob = container.getBlockBlobClient('a');
      await blob.stageBlock(block('1'), 'staged', 6);
      expect(await refusal(blob.getProperties())).toEqual([404, 'BlobNotFound']);
      await put('a', 'put', absent);
      expect(await refusal(blob.commitBlockList([block('1')]))).toEqual([400, 'InvalidBlockList']);
      expect(await read('a')).toBe('put');
    });
  });

  describe('ranges', () => {
    test('a range that starts at the end is 416, and any range of an empty blob', async () => {
      await put('a', '0123456789');
      await put('empty', '');
      expect((await container.getBlobClient('a').downloadToBuffer(8, 2)).toString()).toBe('89');
      expect(await refusal(container.getBlobClient('a').download(10, 1))).toEqual([416, 'InvalidRange']);
      expect(await refusal(container.getBlobClient('empty').download(0, 1))).toEqual([416, 'InvalidRange']);
    });

    test('a range across blocks of both kinds of storage is exact', async () => {
      const parts = [3, 300_000, 1, 700_000].map((length, i) => Buffer.alloc(length, i + 65));
      const blob = container.getBlockBlobClient('blocks');
      for (const [i, part] of parts.entries()) await blob.stageBlock(block(`${i}`), part, part.length);
      await blob.commitBlockList(parts.map((_, i) => block(`${i}`)));
      const whole = Buffer.concat(parts);
      for (const [offset, length] of [
        [0, 1_000_004],
        [2, 300_003],
        [300_002, 3],
        [999_000, 1004],
      ] as const) {
        const range = await blob.downloadToBuffer(offset, length);
        expect(Buffer.compare(range, whole.subarray(offset, offset + length))).toBe(0);
      }
    });
  });

  describe('list', () => {
    const names = async (options: object, pageSize = 5000): Promise<string[]> => {
      const found: string[] = [];
      for await (const page of container.listBlobsFlat(options).byPage({ maxPageSize: pageSize })) {
        expect(page.segment.blobItems.length).toBeLessThanOrEqual(pageSize);
        found.push(...page.segment.blobItems.map((item) => item.name));
      }
      return found;
    };

    beforeEach(async () => {
      for (const name of ['p/a', 'p/b', 'p/b/1', 'p/c', 'q/a']) await put(name, name);
    });

    test('begins at startFrom, that blob included, and goes on from page to page', async () => {
      for (const pageSize of [1, 2, 5000]) {
        expect(await names({ startFrom: 'p/b' }, pageSize)).toEqual(['p/b', 'p/b/1', 'p/c', 'q/a']);
        expect(await names({ prefix: 'p/', startFrom: 'p/b0' }, pageSize)).toEqual(['p/c']);
        expect(await names({ prefix: 'p/' }, pageSize)).toEqual(['p/a', 'p/b', 'p/b/1', 'p/c']);
      }
    });

    test('folds names at a delimiter, and hides what is only staged', async () => {
      await container.getBlockBlobClient('p/staged').stageBlock(block('1'), 'x', 1);
      const found = [];
      for await (const item of container.listBlobsByHierarchy('/', { prefix: 'p/' }))
        found.push(`${item.kind} ${item.name}`);
      expect(found.sort()).toEqual(['blob p/a', 'blob p/b', 'blob p/c', 'prefix p/b/']);
    });
  });
});

describe('durability', () => {
  beforeEach(begin);
  afterEach(end);

  test('no two writes share an ETag, restarts included', async () => {
    const etags = new Set<string | undefined>();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 300; i++) etags.add((await put('a', 'same')).etag);
      await kill();
      await start();
    }
    expect(etags.size).toBe(600);
  });

  test('every write that was acknowledged is there after kill -9, and no other half', async () => {
    const acknowledged = new Map<string, string | undefined>();
    let acknowledgements = 0;
    const enough = Promise.withResolvers<void>();
    const writer = async (id: number): Promise<void> => {
      const register = `register-${id}`;
      let { etag } = await put(register, '0');
      for (let i = 1; ; i++) {
        await put(`fact-${id}-${i}`, `bytes ${i}`, absent);
        acknowledged.set(`fact-${id}-${i}`, `bytes ${i}`);
        await put(`hint-${id}-${i}`, 'hint');
        await container.deleteBlob(`hint-${id}-${i}`);
        acknowledged.set(`hint-${id}-${i}`, undefined);
        ({ etag } = await put(register, `${i}`, { ifMatch: etag }));
        acknowledged.set(register, `${i}`);
        const large = container.getBlockBlobClient(`large-${id}-${i}`);
        await large.stageBlock(block('1'), 'L'.repeat(300_000), 300_000);
        await large.commitBlockList([block('1')], { conditions: absent });
        acknowledged.set(`large-${id}-${i}`, 'L'.repeat(300_000));
        if (++acknowledgements === 60) enough.resolve();
      }
    };
    const writers = Array.from({ length: 8 }, (_, id) => writer(id).catch(enough.reject));
    await enough.promise;
    await kill();
    await Promise.all(writers);

    await start();
    const there = new Set<string>();
    for await (const item of container.listBlobsFlat()) there.add(item.name);
    for (const [key, text] of acknowledged) {
      if (text === undefined) expect(there).not.toContain(key);
      else if (key.startsWith('register-')) expect(Number(await read(key))).toBeGreaterThanOrEqual(Number(text));
      else expect(await read(key)).toBe(text);
    }
    for (const key of there) expect((await read(key)).length).toBeGreaterThan(0);
  });

  test('properties, conditions and staged blocks outlive a restart', async () => {
    const { etag } = await put('a', 'first');
    const { lastModified } = await container.getBlobClient('a').getProperties();
    await container.getBlockBlobClient('b').stageBlock(block('1'), 'staged', 6);
    await kill();
    await start();
    expect(await container.getBlobClient('a').getProperties()).toMatchObject({ etag, lastModified, contentLength: 5 });
    await put('a', 'second', { ifMatch: etag });
    await container.getBlockBlobClient('b').commitBlockList([block('1')]);
    expect(await read('b')).toBe('staged');
  });

  test('bytes that nothing refers to any more are gone after a restart', async () => {
    const chunks = () => readdirSync(join(dataDir, 'chunks')).length;
    await put('kept', 'K'.repeat(400_000));
    await put('deleted', 'D'.repeat(400_000));
    await put('replaced', 'R'.repeat(400_000));
    await put('replaced', 'small');
    expect(await refusal(put('kept', 'X'.repeat(400_000), absent))).toEqual([409, 'BlobAlreadyExists']);
    await container.deleteBlob('deleted');
    expect(chunks()).toBe(4);
    await kill();
    await start();
    expect(chunks()).toBe(1);
    expect((await read('kept')).length).toBe(400_000);
  });

  test('a data directory is served by one emulator at a time', async () => {
    await expect(startBlobEmulator({ dataDir, containers: [] })).rejects.toThrow('locked');
  });
});
