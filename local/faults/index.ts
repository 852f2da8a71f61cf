/** Injects faults into local clouds that run on this machine, from another process: a test, a tool, the command line. */
import { randomUUID } from 'node:crypto';
import type { LocalPorts } from '../ports.ts';
import type { ActiveFault } from './board.ts';
import { type FaultOrder, type FaultSite, nameOf, sites } from './order.ts';

export type { ActiveFault } from './board.ts';
export { type FaultOrder, kinds, nameOf, parseFaultOrder, services, sites, ttlMsMax } from './order.ts';

/** What came of an injection. */
export interface Injected {
  readonly id: string;
  /** Routes and processes that are struck. */
  readonly struck: number;
  /** Parts of the local clouds that do not run; a fault of theirs is not there when they come back. */
  readonly dark: readonly FaultSite[];
}

/** Why a fault could not be injected. */
export class FaultError extends Error {
  /** `refused`: it makes no sense; `unreachable`: nobody was there. */
  readonly code: 'refused' | 'unreachable';
  constructor(code: FaultError['code'], message: string) {
    super(message);
    this.name = 'FaultError';
    this.code = code;
  }
}

/** All faults of both local clouds and the witness. */
export interface FaultControl {
  /** Resolves when the fault holds everywhere. @throws FaultError */
  inject(order: Omit<FaultOrder, 'ttlMs'> & { ttlMs?: number }): Promise<Injected>;
  /** Those that hold, each once. @throws FaultError when nothing runs */
  list(): Promise<ActiveFault[]>;
  /** Ends one, or all. @returns how many ended @throws FaultError when nothing runs */
  clear(id?: string): Promise<number>;
}

/** A cloud that does not answer within this is dark, or stopped by a debugger. */
const ANSWER_MS = 5_000;

/** @param ports of the clouds that are meant; each process is asked, as each holds the routes of its own callers */
export function faultControl(ports: LocalPorts): FaultControl {
  const addresses: Record<FaultSite, string> = {
    aws: `http://127.0.0.1:${ports.aws.faults}/faults`,
    azure: `http://127.0.0.1:${ports.azure.faults}/faults`,
    witness: `http://127.0.0.1:${ports.witnessFaults}/faults`,
  };

  async function ask<T>(path: string, init?: RequestInit): Promise<{ said: T[]; dark: FaultSite[] }> {
    const answers = await Promise.all(sites.map((site) => call<T>(`${addresses[site]}${path}`, init)));
    const dark = sites.filter((_, i) => answers[i] === undefined);
    if (dark.length === sites.length)
      throw new FaultError('unreachable', `nothing runs on these ports (${addresses.aws} does not answer)`);
    return { said: answers.filter((answer) => answer !== undefined), dark };
  }

  return {
    async inject(order) {
      const id = `fault_${randomUUID().slice(0, 8)}`;
      const { said, dark } = await ask<{ struck: number }>(`/${id}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(order),
      });
      const struck = said.reduce((sum, answer) => sum + answer.struck, 0);
      if (struck === 0)
        throw new FaultError('unreachable', `${nameOf(order)} does not run: ${dark.join(', ')} did not answer`);
      return { id, struck, dark };
    },
    async list() {
      const { said } = await ask<{ faults: ActiveFault[] }>('');
      return [...new Map(said.flatMap(({ faults }) => faults).map((fault) => [fault.id, fault])).values()];
    },
    async clear(id) {
      const before = await this.list();
      await ask(id === undefined ? '' : `/${encodeURIComponent(id)}`, { method: 'DELETE' });
      return before.filter((fault) => id === undefined || fault.id === id).length;
    },
  };
}

/** What a process says; `undefined` where there is none. @throws FaultError for what it refuses */
async function call<T>(address: string, init?: RequestInit): Promise<T | undefined> {
  const answered = await fetch(address, { ...init, signal: AbortSignal.timeout(ANSWER_MS) })
    .then(async (response) => ({ ok: response.ok, body: (await response.json()) as { error?: string } }))
    .catch(() => undefined);
  if (answered && !answered.ok) throw new FaultError('refused', answered.body.error ?? 'refused');
  return answered?.body as T | undefined;
}
