import { randomUUID } from 'node:crypto';
import type { DurationMs } from '../../../shared/units.ts';
import { ACCOUNT } from './function-spec.ts';
import type { FunctionPool } from './pool.ts';

/**
 * Calls a function now and at a fixed rate, as an EventBridge rule does. The call is asynchronous: one that falls due
 * while the last is running waits for it, and more than one never wait. Returns a function that ends it.
 */
export function startSchedule(pool: FunctionPool, everyMs: DurationMs, region: string): () => void {
  let running = false;
  let due = false;

  async function call(): Promise<void> {
    if (running) {
      due = true;
      return;
    }
    running = true;
    do {
      due = false;
      await pool.invoke(JSON.stringify(scheduledEvent(region, pool.spec.name)));
    } while (due);
    running = false;
  }

  void call();
  const timer = setInterval(() => void call(), everyMs);
  return () => clearInterval(timer);
}

/** @source https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html 2026-08 */
function scheduledEvent(region: string, name: string) {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: ACCOUNT,
    time: new Date().toISOString(),
    region,
    resources: [`arn:aws:events:${region}:${ACCOUNT}:rule/${name}`],
    detail: {},
  };
}
