import { once } from 'node:events';
import { createServer } from 'node:net';
import { portsOf } from '../local/ports.ts';

/** Both clouds and the witness, running on this machine as processes of their own. */
export interface LocalClouds {
  console: string;
  key: string;
  aws?: { api: string; pid: number };
  azure?: { api: string; pid: number };
  witness?: { url: string; pid: number };
  /** Ends every process. */
  stop(): Promise<void>;
}

export interface LocalOptions {
  /** Folder that keeps everything; made if it is missing. */
  dataDir: string;
  portBase: number;
  /** Starts one cloud alone, on the data and ports of both. */
  only?: 'aws' | 'azure';
  /** No log on this terminal. */
  quiet: boolean;
}

/** Loaded only by the commands that start clouds: the emulators take a second. */
export async function startClouds(options: LocalOptions): Promise<LocalClouds> {
  const path = '../local/up.ts';
  const { startLocal } = (await import(path)) as { startLocal: (options: LocalOptions) => Promise<LocalClouds> };
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
