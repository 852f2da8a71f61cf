import { setTimeout as sleep } from 'node:timers/promises';
import type { DurationMs } from '../shared/units.ts';
import { canaryKey } from './init.ts';

const POLL_MS: DurationMs = 100;

/** Resolves when a front door says that it is well. @throws Error when it does not within `waitMs` */
export async function untilAnswers(api: string, waitMs: DurationMs): Promise<void> {
  await poll(waitMs, `${api} did not answer`, async () => (await call(api, '/batches?limit=1')) !== undefined);
}

/**
 * A batch of one line, from upload to result.
 * @throws Error when it is not complete within `waitMs`
 */
export async function runCanary(api: string, waitMs: DurationMs): Promise<void> {
  const body = { model: 'canary', input: 'a tiny job' };
  const line = { custom_id: 'canary', method: 'POST', url: '/v1/embeddings', body };
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob([`${JSON.stringify(line)}\n`]), 'canary.jsonl');
  const ends = performance.now() + waitMs;
  const file = await retried(ends, () => call(api, '/files', { method: 'POST', body: form }));
  const asked = { input_file_id: file.id, endpoint: '/v1/embeddings', completion_window: '24h' };
  const batch = await retried(ends, () =>
    call(api, '/batches', {
      method: 'POST',
      body: JSON.stringify(asked),
      headers: { 'content-type': 'application/json', 'idempotency-key': String(file.id) },
    }),
  );
  await poll(ends - performance.now(), `the canary of ${api} did not complete`, async () => {
    const { status } = (await call(api, `/batches/${batch.id}`)) ?? {};
    if (status === 'failed' || status === 'expired' || status === 'cancelled')
      throw new Error(`the canary of ${api} ended as ${status}`);
    return status === 'completed';
  });
}

/** What the front door answers with 2xx; `undefined` while it is not there or says to come later. */
async function call(api: string, path: string, init: RequestInit = {}): Promise<Record<string, unknown> | undefined> {
  const headers = { ...init.headers, authorization: `Bearer ${canaryKey}` };
  const response = await fetch(`${api}${path}`, { ...init, headers }).catch(() => undefined);
  if (response === undefined) return undefined;
  const text = await response.text();
  if (response.ok) return JSON.parse(text) as Record<string, unknown>;
  if (response.status >= 500 || response.status === 429) return undefined;
  throw new Error(`${api}${path} answered ${response.status}: ${text.slice(0, 300)}`);
}

async function retried<T>(ends: number, attempt: () => Promise<T | undefined>): Promise<T> {
  let result: T | undefined;
  await poll(ends - performance.now(), 'the canary was not taken', async () => {
    result = await attempt();
    return result !== undefined;
  });
  return result as T;
}

async function poll(waitMs: DurationMs, failure: string, holds: () => Promise<boolean>): Promise<void> {
  const ends = performance.now() + waitMs;
  while (!(await holds())) {
    if (performance.now() > ends) throw new Error(`${failure} within ${Math.round(waitMs / 1000)} s`);
    await sleep(POLL_MS);
  }
}
