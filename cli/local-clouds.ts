import { once } from 'node:events';
import { createServer } from 'node:net';
import { portsOf } from '../local/ports.ts';
import type { LocalClouds, LocalOptions } from '../local/up.ts';

export type { LocalClouds, LocalOptions };

/** Both clouds and the witness. Loaded only by the commands that start them. */
export async function startClouds(options: LocalOptions): Promise<LocalClouds> {
  const { startLocal } = await import('../local/up.ts');
  return startLocal(options);
}

/** `first`, or the next base a thousand above whose ports are all free. @throws Error where none is */
export async function freePortBase(first: number): Promise<number> {
  for (let base = first; base <= 60_000; base += 1000)
    if ((await Promise.all(numbersIn(portsOf(base)).map(isFree))).every(Boolean)) return base;
  throw new Error(`no free ports from ${first} up`);
}

function numbersIn(value: unknown): number[] {
  return typeof value === 'number' ? [value] : Object.values(value as object).flatMap(numbersIn);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
