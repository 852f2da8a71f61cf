export { createAdminClient, httpAdminPolicy } from './admin-client.ts';
export type { QueueConfig, QueueStatus } from './config.ts';
export { type EmulatorOptions, type ServiceBusEmulator, startServiceBusEmulator } from './emulator.ts';
export { ServiceBusFault } from './fault.ts';
export type { InspectedMessage, QueueInspector } from './inspect.ts';
export type { EmulatorLogger } from './logger.ts';
export type { QueueCounts } from './queue.ts';
