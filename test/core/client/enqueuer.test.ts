import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type BatchObject,
  createClient,
  EnqueueError,
  Enqueuer,
  type EnqueuerOptions,
  HoldfastApiError,
  type HoldfastClient,
  type Job,
  UnreachableError,
} from '../../../client/index.ts';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import { Clouds, secret } from '../cli/support.ts';

const job = (text: string, more: Partial<Job> = {}): Job => ({
  body: { model: 'm', messages: [{ role: 'user', content: text }] },
  ...more,
});

/** A client that takes every batch, or fails as it is told. */
class FakeClient {
  readonly files: string[] = [];
  readonly created: { lines: string[]; endpoint: string; key: string }[] = [];
  fate: (call: 'upload' | 'create') => Error | undefined = () => undefined;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  asClient(): HoldfastClient {
    const client = {
      files: {
        upload: async (file: Blob) => {
          await this.#clock.sleep(50);
          const failure = this.fate('upload');
          if (failure) throw failure;
          this.files.push(await file.text());
          return { file: { id: `file-${this.files.length - 1}` } };
        },
      },
      batches: {
        create: async (request: { input_file_id: string; endpoint: string }, options: { idempotencyKey: string }) => {
          await this.#clock.sleep(50);
          const lines = this.files[Number(request.input_file_id.slice(5))]!.trim().split('\n');
          const failure = this.fate('create');
          if (failure) throw failure;
          this.created.push({ lines, endpoint: request.endpoint, key: options.idempotencyKey });
          return { id: `batch_${this.created.length}`, holdfast: { receipt: 'dual' } } as BatchObject;
        },
      },
    };
    return client as unknown as HoldfastClient;
  }
}

const refusal = (status: number) =>
  new HoldfastApiError('no', { status, code: 'c', param: 'model', requestId: null, base: 'b', retryAfterMs: null });

describe('an enqueuer', () => {
  let clock: ManualClock;
  let fake: FakeClient;
  beforeEach(() => {
    clock = new ManualClock();
    fake = new FakeClient(clock);
  });
  const enqueuer = (options: EnqueuerOptions = {}) => new Enqueuer(fake.asClient(), { clock, ...options });
  const settle = async <T>(promises: Promise<T>[], ms = 10_000) => {
    const settled = Promise.allSettled(promises);
    await clock.advance(ms);
    return settled;
  };

  test('sends a thousand single jobs as two full batches, and tells each where it is', async () => {
    const one = enqueuer();
    const jobs = Array.from({ length: 1_000 }, (_, i) => one.enqueue(job(`text ${i}`, { customId: `j${i}` })));
    const settled = await settle(jobs);
    expect(fake.created.map(({ lines }) => lines.length)).toEqual([500, 500]);
    expect(settled.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(settled[999]).toMatchObject({ value: { batch: 'batch_2', customId: 'j999', receipt: 'dual' } });
    expect(JSON.parse(fake.created[1]!.lines[499]!)).toMatchObject({ custom_id: 'j999', url: '/v1/chat/completions' });
    expect(one.pending).toBe(0);
  });

  test('lets a lone job wait for others as long as it lingers, and less where it has less time', async () => {
    const one = enqueuer({ lingerMs: 5_000 });
    void one.enqueue(job('a'));
    await clock.advance(4_999);
    expect(fake.files).toHaveLength(0);
    await clock.advance(200);
    expect(fake.created).toHaveLength(1);
    void one.enqueue(job('b', { withinMs: 200 }));
    await clock.advance(200);
    expect(fake.created).toHaveLength(2);
  });

  test('keeps models and endpoints apart, since a batch has one of each', async () => {
    const one = enqueuer();
    await settle([
      one.enqueue(job('a')),
      one.enqueue({ body: { model: 'other', messages: [] } }),
      one.enqueue({ body: { model: 'm', input: 'text' }, endpoint: '/v1/embeddings' }),
      one.enqueue(job('b')),
    ]);
    expect(fake.created.map(({ lines }) => lines.length).sort()).toEqual([1, 1, 2]);
  });

  test('puts two jobs of one name into two batches', async () => {
    const one = enqueuer();
    const settled = await settle([
      one.enqueue(job('a', { customId: 'same' })),
      one.enqueue(job('b', { customId: 'same' })),
    ]);
    expect(settled.map((end) => (end.status === 'fulfilled' ? end.value.batch : end.reason))).toEqual([
      'batch_1',
      'batch_2',
    ]);
  });

  test('cuts batches by bytes, too', async () => {
    const one = enqueuer({ bytesMax: 1_000 });
    const jobs = Array.from({ length: 10 }, () => one.enqueue(job('x'.repeat(300))));
    await settle(jobs);
    expect(fake.created.map(({ lines }) => lines.length)).toEqual([2, 2, 2, 2, 2]);
  });

  test.each<[string, Job, string | null]>([
    ['no model', { body: { messages: [] } }, 'body.model'],
    ['a stream', job('a', { body: { model: 'm', stream: true } }), 'body.stream'],
    ['a name that is too long', job('a', { customId: 'x'.repeat(600) }), 'custom_id'],
    ['what is no JSON', { body: { model: 'm', n: 1n } }, 'body'],
    ['more than a line may hold', job('x'.repeat(5_000_000)), null],
  ])('refuses %s at once, by field, and its neighbours go their way', async (_, bad, param) => {
    const one = enqueuer();
    const [ended, neighbour] = await settle([one.enqueue(bad), one.enqueue(job('good'))]);
    expect(ended).toMatchObject({ status: 'rejected', reason: { name: 'EnqueueError', code: 'invalid', param } });
    expect(neighbour!.status).toBe('fulfilled');
  });

  test('F3 sends a batch whose answer was lost again under the same key, without uploading again', async () => {
    let lost = 3;
    fake.fate = (call) => (call === 'create' && lost-- > 0 ? new UnreachableError([]) : undefined);
    const keys: string[] = [];
    const client = fake.asClient();
    const { create } = client.batches;
    client.batches.create = (request, options) => {
      keys.push(options!.idempotencyKey!);
      return create(request, options);
    };
    const [ended] = await settle([new Enqueuer(client, { clock }).enqueue(job('a'))], 60_000);
    expect(ended!.status).toBe('fulfilled');
    expect(fake.files).toHaveLength(1);
    expect(keys).toHaveLength(4);
    expect(new Set(keys).size).toBe(1);
  });

  test('tells every job when no cloud took its batch, and whether it may be in work all the same', async () => {
    fake.fate = (call) => (call === 'create' ? new UnreachableError([]) : undefined);
    const one = enqueuer({ retryForMs: 10_000 });
    const ends = await settle([one.enqueue(job('a')), one.enqueue(job('b'))], 60_000);
    for (const end of ends) expect(end).toMatchObject({ reason: { code: 'unreachable', mayBeAccepted: true } });
    fake.fate = () => new UnreachableError([]);
    const [unsent] = await settle([one.enqueue(job('c'))], 60_000);
    expect(unsent).toMatchObject({ reason: { code: 'unreachable', mayBeAccepted: false } });
  });

  test('does not send again what is refused, and says why', async () => {
    fake.fate = () => refusal(400);
    const [end] = await settle([enqueuer().enqueue(job('a'))]);
    expect(end).toMatchObject({ reason: { code: 'refused', param: 'model', mayBeAccepted: false } });
    expect((end as PromiseRejectedResult).reason.cause).toBeInstanceOf(HoldfastApiError);
  });

  test('takes no more than it may hold, and says when there is room', async () => {
    const one = enqueuer({ pendingMax: 8, linesMax: 4, batchesAtOnce: 1 });
    const jobs = Array.from({ length: 8 }, (_, i) => one.enqueue(job(`${i}`)));
    await expect(one.enqueue(job('9'))).rejects.toMatchObject({ code: 'full' });
    let isReady = false;
    void one.ready().then(() => {
      isReady = true;
    });
    await clock.advance(50);
    expect(isReady).toBe(false);
    await settle(jobs);
    expect(isReady).toBe(true);
    await expect(one.ready()).resolves.toBeUndefined();
  });

  test('never has more batches under way than it may', async () => {
    let [running, most] = [0, 0];
    const client = fake.asClient();
    const { upload } = client.files;
    client.files.upload = async (file, options) => {
      most = Math.max(most, ++running);
      return upload(file, options).finally(() => {
        running -= 1;
      });
    };
    const one = new Enqueuer(client, { clock, linesMax: 1, batchesAtOnce: 3 });
    await settle(Array.from({ length: 20 }, (_, i) => one.enqueue(job(`${i}`))));
    expect(most).toBe(3);
    expect(fake.created).toHaveLength(20);
  });

  test('on close sends what waits, and refuses what comes after', async () => {
    const one = enqueuer({ lingerMs: 1e9 });
    const waits = one.enqueue(job('a'));
    const closed = one.close();
    await expect(one.enqueue(job('b'))).rejects.toBeInstanceOf(EnqueueError);
    await clock.advance(1_000);
    await closed;
    expect(await waits).toMatchObject({ batch: 'batch_1' });
  });

  test.each([
    [{ linesMax: 0 }, 'linesMax: 0'],
    [{ batchesAtOnce: 1.5 }, 'batchesAtOnce: 1.5'],
    [{ pendingMax: Number.NaN }, 'pendingMax: NaN'],
  ])('refuses %j by name', (options, message) => {
    expect(() => enqueuer(options)).toThrow(message);
  });
});

describe('an enqueuer of both clouds', () => {
  let clouds: Clouds;
  beforeEach(async () => {
    clouds = await Clouds.start();
  });
  afterEach(() => clouds.close());

  test('F3 every job is durable in both clouds when it resolves, once, also where replies are lost', async () => {
    let lost = 2;
    clouds.fate = ({ method, path }) =>
      method === 'POST' && path === '/v1/batches' && lost-- > 0 ? 'loseReply' : undefined;
    const client = createClient({ ...clouds.url, key: secret, sleep: async () => {} });
    await using one = new Enqueuer(client, { lingerMs: 20 });
    const ends = await Promise.all(Array.from({ length: 40 }, (_, i) => one.enqueue(job(`text ${i}`))));
    expect(new Set(ends.map(({ batch }) => batch)).size).toBe(1);
    const { batch, receipt } = ends[0]!;
    expect(receipt).toBe('dual');
    for (const { journal } of [clouds.world.aws, clouds.world.azure]) {
      const page = await journal.list('t/acme/batches/');
      expect(new Set(page.entries.map(({ key }) => key.split('/')[3]))).toEqual(new Set([batch]));
      expect(page.entries.some(({ key }) => key.includes('/acceptances/'))).toBe(true);
    }
  });
});
