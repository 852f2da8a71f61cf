import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { inputLines } from '../../support/world.ts';
import { Clouds, Folder, holdfast } from './support.ts';

let clouds: Clouds;
let folder: Folder;
beforeEach(async () => {
  clouds = await Clouds.start();
  folder = new Folder();
});
afterEach(async () => {
  folder.remove();
  await clouds.close();
});

const poll = ['--poll-ms', '5'];
const isCreate = ({ method, path }: { method: string; path: string }) => method === 'POST' && path === '/v1/batches';

describe('submit', () => {
  test('takes the endpoint from the first line and prints one JSON document', async () => {
    const path = folder.file('in.jsonl', inputLines(3, '/v1/embeddings'));
    const { exitCode, json, stdout } = await holdfast([
      'submit',
      path,
      '--json',
      '--metadata',
      'team=a=b',
      ...clouds.flags,
    ]);
    expect(exitCode).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(json.batch).toMatchObject({
      object: 'batch',
      endpoint: '/v1/embeddings',
      metadata: { team: 'a=b' },
      holdfast: { receipt: 'dual', accepted_by: 'aws' },
    });
    expect(json.upload).toMatchObject({ cloud: 'aws', way: 'form' });
    expect(json.idempotency_key).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('--wait --out saves files that are byte for byte what either cloud has, and exits 0', async () => {
    const path = folder.file('in.jsonl');
    const out = join(folder.path, 'results');
    const ran = await holdfast(['submit', path, '--json', '--out', out, ...poll, ...clouds.flags]);
    expect(ran.exitCode).toBe(0);
    expect(ran.json.batch.status).toBe('completed');
    // An error file is published even where it is empty.
    const kinds = ran.json.files.map((file: { kind: string }) => file.kind);
    expect(kinds).toContain('output');
    expect(readdirSync(out).sort()).toEqual(kinds.map((kind: string) => `${ran.json.batch.id}_${kind}.jsonl`).sort());
    const output = readFileSync(ran.json.files.find((file: { kind: string }) => file.kind === 'output').path);
    expect(createHash('sha256').update(output).digest('hex')).toBe(ran.json.files[0].sha256);
    const ids = output
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).custom_id);
    expect(ids).toEqual(Array.from({ length: 12 }, (_, i) => `line-${i}`));
    expect(ran.stderr).toMatch(/aws \d+\/12|azure \d+\/12/);
  });

  test('a reply that is lost after the batch was accepted: the request is sent again and gives the same batch', async () => {
    let lost = 0;
    clouds.fate = (seen) => (isCreate(seen) && lost++ === 0 ? 'loseReply' : undefined);
    const { exitCode, json } = await holdfast(['submit', folder.file('in.jsonl'), '--json', ...clouds.flags]);
    expect(exitCode).toBe(0);
    const creates = clouds.seen.filter(isCreate);
    expect(creates.map(({ cloud }) => cloud)).toEqual(['aws', 'azure']);
    expect(new Set(creates.map(({ headers }) => headers['idempotency-key']))).toEqual(new Set([json.idempotency_key]));
    const listed = await holdfast(['status', '--json', ...clouds.flags]);
    expect(listed.json.batches.map(({ id }: { id: string }) => id)).toEqual([json.batch.id]);
  });

  test('the same key and file, sent again by another process to the other cloud, is the same batch', async () => {
    const path = folder.file('in.jsonl');
    const again = ['submit', path, '--json', '--idempotency-key', 'nightly', ...clouds.flags];
    const first = await holdfast([...again, '--cloud', 'aws']);
    const second = await holdfast([...again, '--cloud', 'azure']);
    expect(second.json.batch.id).toBe(first.json.batch.id);
    expect(second.json.upload.cloud).toBe('azure');
  });

  test('another file under the same key is refused with code and param, exit 2', async () => {
    const flags = ['--json', '--idempotency-key', 'nightly', ...clouds.flags];
    await holdfast(['submit', folder.file('a.jsonl', inputLines(2)), ...flags]);
    const { exitCode, stderr, stdout } = await holdfast(['submit', folder.file('b.jsonl', inputLines(3)), ...flags]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/idempotency_conflict: .* \(Idempotency-Key\)/);
    expect(stdout).toBe('');
  });

  test('auto: with AWS gone, upload and batch go to Azure', async () => {
    await clouds.kill('aws');
    const { exitCode, json } = await holdfast(['submit', folder.file('in.jsonl'), '--json', ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(json.upload.cloud).toBe('azure');
    expect(json.batch.holdfast.accepted_by).toBe('azure');
  });

  test('--cloud aws never goes to Azure: with AWS gone it exits 3 and says what to try', async () => {
    await clouds.kill('aws');
    const argv = ['submit', folder.file('in.jsonl'), '--cloud', 'aws', ...clouds.flags];
    const { exitCode, stderr } = await holdfast(argv);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('ECONNREFUSED');
    expect(stderr).toContain('holdfast up');
    expect(clouds.seen.filter(({ cloud }) => cloud === 'azure')).toEqual([]);
  });

  test('a batch that fails validation: its errors with line numbers, exit 1', async () => {
    const path = folder.file('in.jsonl', inputLines(2) + inputLines(1));
    const { exitCode, stdout } = await holdfast(['submit', path, '--wait', ...poll, ...clouds.flags]);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/line 3: duplicate_custom_id: /);
  });

  test('a completed batch with failed requests exits 1', async () => {
    clouds.world.answer = ({ line, customId }) => ({ outcome: 'failed', line, customId, code: 'bad', message: 'no' });
    const argv = ['submit', folder.file('in.jsonl'), '--wait', '--json', ...poll, ...clouds.flags];
    const { exitCode, json } = await holdfast(argv);
    expect(json.batch).toMatchObject({ status: 'completed', request_counts: { total: 12, completed: 0, failed: 12 } });
    expect(exitCode).toBe(1);
  });

  test('interrupted while waiting: exit 130, and the batch id was told before', async () => {
    await clouds.stopWorkers();
    const interrupt = new AbortController();
    const running = holdfast(['submit', folder.file('in.jsonl'), '--wait', ...poll, ...clouds.flags], {
      signal: interrupt.signal,
    });
    while (!clouds.seen.some(({ method, path }) => method === 'GET' && path.startsWith('/v1/batches/batch_')))
      await new Promise((resolve) => setImmediate(resolve));
    interrupt.abort(new Error('SIGINT'));
    const { exitCode, stderr } = await running;
    expect(exitCode).toBe(130);
    expect(stderr).toMatch(/accepted: batch_[0-9a-f]{32}/);
  });

  test.each([
    ['a missing file', 'nope.jsonl', 'no such file'],
    ['a folder', '.', 'not a file'],
  ])('%s is named, exit 2', async (_, name, message) => {
    const { exitCode, stderr } = await holdfast(['submit', join(folder.path, name), ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  test.each([
    ['an empty file', ''],
    ['a first line that is no JSON', 'hello\n'],
    ['a first line without url', '{"custom_id":"a"}\n'],
  ])('%s names no endpoint, exit 2 with the flag that would', async (_, content) => {
    const { exitCode, stderr } = await holdfast(['submit', folder.file('in.jsonl', content), ...clouds.flags]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('--endpoint')]);
  });

  test('a byte order mark before the first line does not hide its url', async () => {
    const path = folder.file('in.jsonl', `\ufeff${inputLines(1)}`);
    const { json } = await holdfast(['submit', path, '--json', ...clouds.flags]);
    expect(json.batch.endpoint).toBe('/v1/chat/completions');
  });
});
