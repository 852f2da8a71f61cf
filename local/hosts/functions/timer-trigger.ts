import type { Log } from '../../../shared/ports/log.ts';
import { errorText } from '../log.ts';
import type { RegisteredFunction } from './core-module.ts';
import { type Invoker, triggerBinding } from './invocation.ts';
import { parseNcrontab } from './ncrontab.ts';

/**
 * Calls a function by its schedule, in UTC. One invocation at a time: a moment that passes while the function runs is
 * skipped, as a timer's singleton lock has it.
 * @throws ConfigError where the schedule cannot be parsed
 */
export function startTimerTrigger(
  registered: RegisteredFunction,
  invoker: Invoker,
  env: NodeJS.ProcessEnv,
  log: Log,
): { close(): void } {
  const { options } = triggerBinding(registered);
  const schedule = parseNcrontab(String(options.schedule).replace(/%([^%]+)%/g, (_, key) => env[key] ?? ''));
  let last = new Date(0);
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function call(): Promise<void> {
    const now = new Date();
    const status = {
      Last: last.toISOString(),
      Next: new Date(schedule.next(now.getTime())).toISOString(),
      LastUpdated: last.toISOString(),
    };
    const info = { Schedule: { AdjustForDST: true }, ScheduleStatus: status, IsPastDue: false };
    last = now;
    try {
      await invoker.invoke(registered, { data: { json: JSON.stringify(info) }, metadata: {} });
    } catch (error) {
      log.warn('invocation.failed', { function: registered.metadata.name, error: errorText(error) });
    }
    arm();
  }

  function arm(): void {
    if (closed) return;
    const now = Date.now();
    timer = setTimeout(() => void call(), Math.min(schedule.next(now) - now, 2_147_483_647));
  }

  if (options.runOnStartup === true) void call();
  else arm();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
