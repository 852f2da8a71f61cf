import {
  LOCK_DURATION_MS_DEFAULT,
  LOCK_DURATION_MS_MAX,
  MAX_DELIVERY_COUNT_DEFAULT,
  MAX_DELIVERY_COUNT_MAX,
  QUEUE_BYTES_DEFAULT,
  QUEUE_NAME_LENGTH_MAX,
} from './limits.ts';

export interface QueueConfig {
  /** Letters, digits and `. _ - /`, up to 260 characters; upper and lower case are one queue. */
  name: string;
  /** How long a receiver may hold a message without renewing, in milliseconds. 1 to 300,000; default 60,000. */
  lockDurationMs?: number;
  /** Deliveries before a message is dead-lettered. 1 to 2,000; default 10. */
  maxDeliveryCount?: number;
  /** Time to live of messages that name none, and the longest one any may have, in milliseconds. Default: no end. */
  defaultTtlMs?: number;
  /** Whether an expired message goes to the dead-letter queue (else it is dropped). Default false. */
  deadLetterOnExpiry?: boolean;
  /** Size at which sends are refused, in bytes. Default 1 GiB. */
  maxSizeBytes?: number;
  /** Drop a message whose id was seen within this many milliseconds. Default: no duplicate detection. */
  duplicateDetectionWindowMs?: number;
}

/** A queue configuration with every field present. */
export interface ResolvedQueueConfig {
  readonly name: string;
  readonly lockDurationMs: number;
  readonly maxDeliveryCount: number;
  readonly defaultTtlMs: number | undefined;
  readonly deadLetterOnExpiry: boolean;
  readonly maxSizeBytes: number;
  readonly duplicateDetectionWindowMs: number | undefined;
}

/**
 * What may be sent to or received from a queue.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/entity-suspend 2026-11
 */
export type QueueStatus = 'Active' | 'Disabled' | 'SendDisabled' | 'ReceiveDisabled';

export const QUEUE_STATUSES: readonly QueueStatus[] = ['Active', 'Disabled', 'SendDisabled', 'ReceiveDisabled'];

/** @throws RangeError naming queue, key and value where one is out of range. */
export function resolveQueueConfig(config: QueueConfig): ResolvedQueueConfig {
  const { name } = config;
  if (!/^[A-Za-z0-9](?:[\w./-]*[A-Za-z0-9_])?$/.test(name) || name.length > QUEUE_NAME_LENGTH_MAX) {
    throw new RangeError(`'${name}' is not a queue name.`);
  }
  const whole = (key: keyof QueueConfig, value: number, min: number, max: number): number => {
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new RangeError(`queue '${name}': ${key} must be a whole number from ${min} to ${max}, not ${value}`);
  };
  const optional = (key: 'defaultTtlMs' | 'duplicateDetectionWindowMs') =>
    config[key] === undefined ? undefined : whole(key, config[key], 1, Number.MAX_SAFE_INTEGER);
  return Object.freeze({
    name,
    lockDurationMs: whole('lockDurationMs', config.lockDurationMs ?? LOCK_DURATION_MS_DEFAULT, 1, LOCK_DURATION_MS_MAX),
    maxDeliveryCount: whole(
      'maxDeliveryCount',
      config.maxDeliveryCount ?? MAX_DELIVERY_COUNT_DEFAULT,
      1,
      MAX_DELIVERY_COUNT_MAX,
    ),
    defaultTtlMs: optional('defaultTtlMs'),
    deadLetterOnExpiry: config.deadLetterOnExpiry ?? false,
    maxSizeBytes: whole('maxSizeBytes', config.maxSizeBytes ?? QUEUE_BYTES_DEFAULT, 1, Number.MAX_SAFE_INTEGER),
    duplicateDetectionWindowMs: optional('duplicateDetectionWindowMs'),
  });
}
