import { lambdaPayloadBytesMax } from '../../../shared/limits.ts';
import type { Log } from '../../../shared/ports/log.ts';
import { type Environment, type Invocation, startEnvironment } from './environment.ts';
import type { FunctionSpec } from './function-spec.ts';

/**
 * A response may be this much larger than a request.
 * @source https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html 2026-08 (6 MB each; the extra 100 bytes are in the error texts)
 */
const RESPONSE_BYTES_MAX = lambdaPayloadBytesMax + 100;

/** The environments of one function. */
export interface FunctionPool {
  readonly spec: FunctionSpec;
  /**
   * Calls the function with `event`, JSON text, when an environment is free: the one used last, or a new one while
   * there are fewer than `concurrencyMax`. Never rejects.
   * @returns `tooLarge` for an event beyond 6 MB, which the function never sees
   */
  invoke(event: string): Promise<Invocation | 'tooLarge'>;
  /** Resolves when an environment is free and has loaded its bundle. Nobody is kept from taking it. */
  warm(): Promise<void>;
  close(): Promise<void>;
}

/** An empty pool: environments come up when they are needed. */
export function createPool(spec: FunctionSpec, region: string, log: Log): FunctionPool {
  const all = new Set<Environment>();
  const idle: Environment[] = [];
  const waiting: ((environment: Environment) => void)[] = [];
  let closed = false;

  function take(): Environment | Promise<Environment> {
    for (let last = idle.pop(); last; last = idle.pop()) {
      if (last.usable) return last;
      all.delete(last);
    }
    return all.size < spec.concurrencyMax ? grow() : new Promise((resolve) => waiting.push(resolve));
  }

  function grow(): Environment {
    const environment = startEnvironment(spec, region);
    all.add(environment);
    return environment;
  }

  function giveBack(environment: Environment): void {
    if (!environment.usable) {
      all.delete(environment);
      log.warn('environment.ended', { function: spec.name });
      if (closed || !waiting[0]) return;
    }
    const next = environment.usable ? environment : grow();
    const waiter = waiting.shift();
    if (waiter) waiter(next);
    else idle.push(next);
  }

  return {
    spec,
    async invoke(event) {
      if (Buffer.byteLength(event) > lambdaPayloadBytesMax) return 'tooLarge';
      const environment = await take();
      const invocation = await environment.invoke(event);
      giveBack(environment);
      if (invocation.failed)
        log.warn('invocation.failed', { function: spec.name, error: invocation.payload.slice(0, 1_000) });
      else if (Buffer.byteLength(invocation.payload) > RESPONSE_BYTES_MAX) {
        const errorMessage = `Response payload size exceeded maximum allowed payload size (${RESPONSE_BYTES_MAX} bytes).`;
        const payload = JSON.stringify({ errorType: 'Function.ResponseSizeTooLarge', errorMessage });
        log.warn('invocation.failed', { function: spec.name, error: payload });
        return { ...invocation, failed: true, payload };
      }
      return invocation;
    },
    async warm() {
      const environment = await take();
      await environment.loaded;
      giveBack(environment);
    },
    async close() {
      closed = true;
      await Promise.all([...all].map((environment) => environment.close()));
    },
  };
}
