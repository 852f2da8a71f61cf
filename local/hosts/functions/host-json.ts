import { readFileSync } from 'node:fs';
import { ConfigError } from '../../../shared/errors.ts';
import type { DurationMs } from '../../../shared/units.ts';

/** What the host takes from `host.json`, every field present. */
export interface HostJson {
  /** Default 30 minutes, as in every plan but Consumption. */
  readonly functionTimeoutMs: DurationMs;
  /** Default `api`. */
  readonly routePrefix: string;
  readonly serviceBus: {
    /** Concurrent invocations per function. Default 16. */
    readonly maxConcurrentCalls: number;
    /** Default true. */
    readonly autoCompleteMessages: boolean;
    /** Default 5 minutes. */
    readonly maxAutoLockRenewalMs: DurationMs;
  };
}

/**
 * Reads `host.json`.
 * @throws ConfigError naming the key
 * @source https://learn.microsoft.com/azure/azure-functions/functions-host-json 2026-11
 * @source https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus#hostjson-settings 2026-11
 */
export function readHostJson(path: string): HostJson {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const extensions = (json.extensions ?? {}) as Record<string, Record<string, unknown> | undefined>;
  const bus = extensions.serviceBus ?? {};
  const calls = bus.maxConcurrentCalls ?? 16;
  if (!Number.isInteger(calls) || (calls as number) < 1)
    throw new ConfigError(
      'host.json',
      'host.json extensions.serviceBus.maxConcurrentCalls: must be a whole number, 1 or more',
    );
  return {
    functionTimeoutMs: spanMs(json.functionTimeout ?? '00:30:00', 'functionTimeout'),
    routePrefix: String(extensions.http?.routePrefix ?? 'api'),
    serviceBus: {
      maxConcurrentCalls: calls as number,
      autoCompleteMessages: bus.autoCompleteMessages !== false,
      maxAutoLockRenewalMs: spanMs(
        bus.maxAutoLockRenewalDuration ?? '00:05:00',
        'extensions.serviceBus.maxAutoLockRenewalDuration',
      ),
    },
  };
}

/** `[d.]hh:mm:ss`, or -1 for no limit. */
function spanMs(value: unknown, key: string): DurationMs {
  if (value === '-1') return 2_147_483_647;
  const match = /^(?:(\d+)\.)?(\d+):(\d\d):(\d\d)$/.exec(String(value));
  if (!match) throw new ConfigError('host.json', `host.json ${key}: '${value}' is no span such as 00:05:00`);
  const [, days = 0, hours, minutes, seconds] = match;
  return (((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
}
