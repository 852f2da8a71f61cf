import type { LiveFault } from './faults.ts';
import type { RouteSpec } from './route.ts';

/** What is spoken on a route. `atom`: the administration of Service Bus; `openai`: models, and our own front door. */
export type Protocol = 's3' | 'sqs' | 'blob' | 'atom' | 'openai' | 'amqp';

/** Stands in front of a service while a fault must read what is asked, and answers in its place where one says so. */
export interface Gate {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Starts the gate that understands a route's protocol.
 * @param faults that hold now; asked for each request
 */
export async function startGate(spec: RouteSpec, faults: () => readonly LiveFault[]): Promise<Gate> {
  if (spec.protocol === 'amqp') return (await import('./amqp-gate.ts')).startAmqpGate(faults);
  return (await import('./http-gate.ts')).startHttpGate(spec, faults);
}
