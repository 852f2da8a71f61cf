import type { RateLimits } from '../../shared/inference/rate-limits.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface Reply {
  ok: boolean;
  retryAfterMs?: number;
  rateLimits?: RateLimits;
}

export interface ThrottlingServer {
  name: string;
  /** Calls a second that it can serve for ever. */
  bestRate: number;
  call(): Promise<Reply>;
}

const refusalMs = 5;
const usualMs = 400;

/** Lognormal around that mean. */
function latency(random: () => number, meanMs = usualMs): number {
  const gauss = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return meanMs * Math.exp(0.4 * gauss - 0.08);
}

/**
 * Serves so many at once and refuses the rest: a server of one's own. By default without a word about when to come back;
 * or with one that says nothing about its slots, as gateways have it.
 */
export function slotServer(
  clock: VirtualClock,
  random: () => number,
  slots: number,
  { meanMs = usualMs, retryAfterMs }: { meanMs?: number; retryAfterMs?: number } = {},
): ThrottlingServer {
  let running = 0;
  const told = retryAfterMs === undefined ? 'bare 429' : 'retry-after';
  return {
    name: `${slots} slots, ${meanMs === usualMs ? '' : `calls of ${meanMs / 1000} s, `}${told}`,
    bestRate: slots / (meanMs / 1000),
    async call() {
      if (running >= slots) {
        await clock.sleep(refusalMs);
        return { ok: false, ...(retryAfterMs !== undefined && { retryAfterMs }) };
      }
      running += 1;
      await clock.sleep(latency(random, meanMs));
      running -= 1;
      return { ok: true };
    },
  };
}

/** A bucket of requests that fills evenly: a quota of a cloud. It says so in headers, or only by `Retry-After: 1`. */
export function quotaServer(
  clock: VirtualClock,
  random: () => number,
  { rate, burst, tells }: { rate: number; burst: number; tells: 'headers' | 'retry-after' },
): ThrottlingServer {
  let level = burst;
  let at = 0;
  return {
    name: `${rate}/s, burst ${burst}, ${tells}`,
    bestRate: rate,
    async call() {
      level = Math.min(burst, level + ((clock.now() - at) * rate) / 1000);
      at = clock.now();
      const ok = level >= 1;
      if (ok) level -= 1;
      const resetMs = ((burst - level) / rate) * 1000;
      const rateLimits = { requests: { limit: burst, remaining: Math.floor(level), resetMs } };
      await clock.sleep(ok ? latency(random) : refusalMs);
      return { ok, ...(!ok && { retryAfterMs: 1000 }), ...(tells === 'headers' && { rateLimits }) };
    },
  };
}

/** Gives a whole window's quota back at the end of each window, and says what is left of it. */
export function windowServer(
  clock: VirtualClock,
  random: () => number,
  perWindow: number,
  windowMs: number,
): ThrottlingServer {
  let window = 0;
  let used = 0;
  return {
    name: `${perWindow} in ${windowMs / 1000} s windows, headers`,
    bestRate: (perWindow / windowMs) * 1000,
    async call() {
      const now = Math.floor(clock.now() / windowMs);
      if (now !== window) [window, used] = [now, 0];
      const ok = used < perWindow;
      if (ok) used += 1;
      const resetMs = (window + 1) * windowMs - clock.now();
      const rateLimits = { requests: { limit: perWindow, remaining: perWindow - used, resetMs } };
      await clock.sleep(ok ? latency(random) : refusalMs);
      return { ok, rateLimits, ...(!ok && { retryAfterMs: resetMs }) };
    },
  };
}
