import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createFaultBoard } from '../../../local/faults/board.ts';
import { serveFaults } from '../../../local/faults/server.ts';
import { portsOf } from '../../../local/ports.ts';
import { type FaultProxy, startProxy } from '../../../local/proxy/index.ts';
import { holdfast } from './support.ts';

/** The switch of AWS alone: Azure and the witness are dark. */
let proxy: FaultProxy;
let served: { port: number; close(): Promise<void> };
let base: string;
beforeEach(async () => {
  proxy = await startProxy([
    { from: 'aws', site: 'aws', service: 'store', protocol: 's3', port: 0, target: () => undefined },
  ]);
  const port = await freeBase();
  base = String(port);
  const board = createFaultBoard({ site: 'aws', proxy, kill: () => {} });
  served = await serveFaults(board, portsOf(port).aws.faults);
});
afterEach(async () => {
  await served.close();
  await proxy.close();
});

test('inject, list and clear: one fault from begin to end, as JSON', async () => {
  const injected = await holdfast(['fault', 'inject', 'aws/store', 'throttle', '--json', '--port-base', base]);
  expect(injected.json).toMatchObject({ site: 'aws', service: 'store', kind: 'throttle', ttlMs: 60_000, struck: 1 });
  expect(injected.stderr).toContain('azure, witness did not answer');
  const listed = await holdfast(['fault', 'list', '--json', '--port-base', base]);
  expect(listed.json.faults).toMatchObject([{ id: injected.json.id, kind: 'throttle' }]);
  const told = await holdfast(['fault', 'list', '--port-base', base]);
  expect(told.stdout).toMatch(/aws\/store +throttle +\d+ s/);
  const cleared = await holdfast(['fault', 'clear', injected.json.id, '--json', '--port-base', base]);
  expect(cleared.json).toEqual({ ended: 1 });
  expect((await holdfast(['fault', 'clear', injected.json.id, '--port-base', base])).exitCode).toBe(1);
  expect((await holdfast(['fault', 'clear', '--all', '--port-base', base])).exitCode).toBe(0);
});

test.each([
  [['inject', 'gcp', 'refuse'], "'gcp'"],
  [['inject', 'aws/disk', 'refuse'], "'disk'"],
  [['inject', 'aws/store', 'hang'], 'hang'],
  [['inject', 'aws/store', 'refuse', '--ttl', 'soon'], 'number'],
  [['clear'], '--all'],
])('fault %j is refused as a wrong command line, and says why', async (argv, why) => {
  const { exitCode, stderr } = await holdfast(['fault', ...argv]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining(why)]);
});

test('where nothing runs, it says so and ends as unreachable', async () => {
  await served.close();
  const { exitCode, stderr } = await holdfast(['fault', 'list', '--port-base', base]);
  expect([exitCode, stderr]).toEqual([3, expect.stringContaining('holdfast up')]);
});

/** A base at which none of the switches is in use. */
async function freeBase(): Promise<number> {
  for (let base = 30_100; ; base += 400) {
    const { aws, azure, witnessFaults } = portsOf(base);
    const free = await Promise.all([aws.faults, azure.faults, witnessFaults].map(isFree));
    if (free.every(Boolean)) return base;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
