import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import OpenAI, { toFile } from 'openai';
import { everyPort, portsOf } from '../../local/ports.ts';
import { type LocalClouds, startLocal } from '../../local/up.ts';
import { bootMs, childrenOf, until } from './support.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-local-'));
/** Away from the bases of other tests, and from the ports of outgoing connections. */
const portBase = 11_200 + (process.pid % 10) * 400;
const started: LocalClouds[] = [];

beforeAll(async () => {
  started.push(await startLocal({ dataDir, portBase, quiet: true }));
}, bootMs);
afterAll(async () => {
  await Promise.all(started.map((clouds) => clouds.stop()));
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
}, 60_000);

type Cloud = 'aws' | 'azure';
const handle = (cloud: Cloud) => started.findLast((clouds) => clouds[cloud] !== undefined)![cloud]!;
const client = (cloud: Cloud, maxRetries = 4) =>
  new OpenAI({ baseURL: handle(cloud).api, apiKey: started[0]!.key, maxRetries });

async function submit(cloud: Cloud, name: string, lines: number, maxRetries?: number): Promise<OpenAI.Batch> {
  const text = Array.from({ length: lines }, (_, i) => {
    const body = { model: 'gpt-oss-120b', messages: [{ role: 'user', content: `Line ${i} of ${name}: what is it?` }] };
    return `${JSON.stringify({ custom_id: `${name}-${i}`, method: 'POST', url: '/v1/chat/completions', body })}\n`;
  }).join('');
  const { files, batches } = client(cloud, maxRetries);
  const file = await files.create({ file: await toFile(Buffer.from(text), 'lines.jsonl'), purpose: 'batch' });
  return batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
}

async function answered(cloud: Cloud, id: string): Promise<string[]> {
  const batch = await until(async () => {
    const seen = await client(cloud).batches.retrieve(id);
    return seen.status === 'completed' ? seen : undefined;
  }, `${id} is completed`);
  const text = await (await client(cloud).files.content(batch.output_file_id!)).text();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).custom_id as string);
}

function isAlive(pid: number): boolean {
  // What is dead and not yet waited for still has an entry, without a program.
  return existsSync(`/proc/${pid}/exe`) || childrenOf(pid).length > 0;
}

const gone = (pids: readonly number[]) =>
  until(async () => (pids.some(isAlive) ? undefined : true), `processes ${pids} are gone`);

test.each(['aws', 'azure'] as const)(
  '%s is killed whole in mid-batch: its host ends with it, the other refuses work, and it comes back with store and queue',
  async (dark) => {
    const light = dark === 'aws' ? 'azure' : 'aws';
    const batches = await Promise.all([0, 1, 2].map((i) => submit(dark, `${dark}-${i}`, 300)));
    const { pid, api } = handle(dark);
    const hosts = childrenOf(pid);
    expect(hosts).toHaveLength(1);
    process.kill(pid, 'SIGKILL');
    await gone([pid, ...hosts]);
    await expect(fetch(`${api}/batches`)).rejects.toThrow();
    await expect(submit(light, 'refused', 1, 0)).rejects.toMatchObject({ status: 503 });
    started.push(await startLocal({ dataDir, portBase, only: dark, quiet: true }));
    expect(handle(dark).api).toBe(api);
    for (const [i, { id }] of batches.entries())
      expect(await answered(dark, id)).toEqual(Array.from({ length: 300 }, (_, n) => `${dark}-${i}-${n}`));
  },
  bootMs + 180_000,
);

test(
  'a folder in use and a port that is taken are refused by name',
  async () => {
    const other = portBase + 4_000;
    await expect(startLocal({ dataDir, portBase: other, quiet: true })).rejects.toThrow(
      'is in use by another instance',
    );
    const { amqp } = portsOf(other).azure;
    const taken = createServer().listen(amqp, '127.0.0.1');
    await once(taken, 'listening');
    await expect(startLocal({ dataDir: join(dataDir, 'other'), portBase: other, quiet: true })).rejects.toThrow(
      `${amqp}`,
    );
    taken.close();
  },
  bootMs,
);

test(
  'whoever started the clouds is killed: every process ends, and every port is free',
  async () => {
    const base = portBase + 4_000;
    const folder = join(dataDir, 'orphaned');
    const script = join(dataDir, 'supervisor.ts');
    const up = join(dirname(import.meta.dirname), '..', 'local', 'up.ts');
    const options = JSON.stringify({ dataDir: folder, portBase: base, quiet: true });
    writeFileSync(
      script,
      `import { startLocal } from ${JSON.stringify(up)};
     const { aws, azure, witness } = await startLocal(${options});
     process.send!([aws, azure, witness].map((one) => one!.pid));`,
    );
    const supervisor = fork(script, { execArgv: [] });
    const [pids] = (await once(supervisor, 'message')) as [number[]];
    const all = [...pids, ...pids.flatMap(childrenOf)];
    expect(all).toHaveLength(5);
    supervisor.kill('SIGKILL');
    await gone(all);
    for (const port of everyPort(base)) {
      const server = createServer().listen(port, '127.0.0.1');
      await once(server, 'listening');
      server.close();
    }
  },
  bootMs,
);
