/** Numbers the service owns, each with where it says so. All read 2026-11. */

/**
 * Largest message, properties included, in bytes (Standard tier). One batch is one transfer, so it is held to the same
 * number, and the SDK sizes `createMessageBatch` by what the link announces.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
 */
export const MESSAGE_BYTES_MAX = 262_144;

/**
 * A lock lasts one minute unless the queue says otherwise, five minutes at most.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement
 */
export const LOCK_DURATION_MS_DEFAULT = 60_000;
export const LOCK_DURATION_MS_MAX = 300_000;

/**
 * Deliveries before a message is dead-lettered.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-dead-letter-queues
 */
export const MAX_DELIVERY_COUNT_DEFAULT = 10;
export const MAX_DELIVERY_COUNT_MAX = 2_000;

/**
 * Most messages one peek returns, however many were asked for.
 * @source https://github.com/Azure/azure-sdk-for-python/issues/26643
 */
export const PEEK_MESSAGES_MAX = 250;

/**
 * A new queue holds 1,024 MB.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
 */
export const QUEUE_BYTES_DEFAULT = 1_024 * 1_024 * 1_024;

/**
 * Longest path of a queue, in characters.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
 */
export const QUEUE_NAME_LENGTH_MAX = 260;
