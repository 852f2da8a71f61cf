import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { resolveConfig } from '../../shared/config/index.ts';
import { localConfig } from '../config.ts';
import { readFunctions } from '../hosts/lambda/service.ts';
import { identityOf } from '../identity.ts';
import { lockDirectory } from '../lock.ts';
import { everyPort, portsOf } from '../ports.ts';
import { environmentsMax, localSettings, lockMs, workerTimeoutMs } from '../settings.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-local-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('the documented ports stand where they are documented, and no two are the same', () => {
  const { console, witness, aws, azure } = portsOf(4_000);
  expect([console, aws.api, azure.api, witness]).toEqual([4_000, 4_100, 4_200, 4_300]);
  expect(new Set(everyPort(4_000)).size).toBe(everyPort(4_000).length);
  expect(() => portsOf(70_000)).toThrow('port-base');
});

test.each(['aws', 'azure', 'direct'] as const)('the configuration seen from %s resolves', (view) => {
  const { source, environment } = localConfig(view, portsOf(4_000), identityOf(dir), {});
  const config = resolveConfig(source, environment);
  expect(config.settings).toMatchObject(localSettings);
  expect(config.models['*']).toMatchObject({ aws: { url: expect.any(String) }, azure: { url: expect.any(String) } });
});

test('functions of two clouds reach the same service through different ports', () => {
  const identity = identityOf(dir);
  const seen = (view: 'aws' | 'azure') => {
    const { source, environment } = localConfig(view, portsOf(4_000), identity, {});
    return JSON.stringify([source, environment]).match(/127\.0\.0\.1:4[12](4\d)\b/g) ?? [];
  };
  const [aws, azure] = [new Set(seen('aws')), new Set(seen('azure'))];
  expect(aws.size).toBeGreaterThan(5);
  expect(aws.isDisjointFrom(azure)).toBe(true);
});

test('a model server of the user is called as named', () => {
  const env = { HOLDFAST_AWS_MODEL_URL: 'https://models.example/v1' };
  const { source, environment } = localConfig('aws', portsOf(4_000), identityOf(dir), env);
  const { aws, azure } = resolveConfig(source, environment).models['*']!;
  expect([aws!.url, azure!.url]).toEqual(['https://models.example/v1', 'http://127.0.0.1:4147/v1']);
});

test('the functions of serverless.yml come with their triggers, and no queue shows a message before its worker ends', () => {
  const functions = readFunctions({
    codeDir: '/code',
    environment: {},
    timeoutMsMax: workerTimeoutMs,
    concurrencyMax: environmentsMax,
  });
  expect(functions.map(({ name, url, everyMs }) => [name, url, everyMs])).toEqual([
    ['worker-intake', false, undefined],
    ['worker-work', false, undefined],
    ['api', true, undefined],
    ['monitor', false, 60_000],
    ['drills', false, 60_000],
  ]);
  const work = functions[1]!;
  expect(work).toMatchObject({ bundle: '/code/dist/functions-aws/worker.mjs', handler: 'handler', concurrencyMax: 4 });
  expect(work.eventSources).toEqual([
    { queueName: 'holdfast-work', batchSize: 10, windowMs: 0, reportsItemFailures: true },
  ]);
  expect(work.timeoutMs).toBeLessThanOrEqual(workerTimeoutMs);
  expect(localSettings.runMs).toBeLessThan(work.timeoutMs);
  expect(lockMs).toBeLessThan(60_000);
});

test('the identity of a directory is made once', () => {
  expect(identityOf(dir)).toEqual(identityOf(dir));
});

test('a directory is locked against a second process, and free once its holder was killed', async () => {
  const script = join(dir, 'hold.ts');
  const lock = join(import.meta.dirname, '../lock.ts');
  writeFileSync(
    script,
    `import { lockDirectory } from ${JSON.stringify(lock)}; lockDirectory(${JSON.stringify(dir)}); process.send('held'); setInterval(() => {}, 1000);`,
  );
  const holder = fork(script, { execArgv: [] });
  await once(holder, 'message');
  expect(() => lockDirectory(dir)).toThrow(`${dir} is in use by another instance (process ${holder.pid})`);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  lockDirectory(dir)();
});
