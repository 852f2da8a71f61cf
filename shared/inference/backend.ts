import type { Endpoint } from '../journal/facts.ts';
import type { Json, JsonObject } from '../journal/json.ts';
import type { DurationMs } from '../units.ts';
import type { RateLimits } from './rate-limits.ts';

/** Something that serves models: one HTTP API of one vendor in one cloud. Rules live above it; it only translates. */
export interface Backend {
  /** As the model map names it. */
  readonly name: string;
  /** One call. Never rejects: what went wrong is a reply, too. */
  call(request: BackendRequest): Promise<BackendReply>;
}

export interface BackendRequest {
  endpoint: Endpoint;
  /** In OpenAI form, the model already named as the backend knows it. */
  body: JsonObject;
  /** Aborted when the caller's time is up. */
  signal: AbortSignal;
}

/**
 * - `answered`: an HTTP response with a JSON body, whatever its status
 * - `malformed`: an HTTP response that is no JSON, too deep, or longer than we take
 * - `timeout`: no whole response in time
 * - `unreachable`: refused, reset, unknown name, broken TLS: the site, not the line
 */
export type BackendReply =
  | {
      kind: 'answered';
      status: number;
      requestId?: string;
      retryAfterMs?: DurationMs;
      rateLimits?: RateLimits;
      body: Json;
    }
  | { kind: 'malformed'; status: number; retryAfterMs?: DurationMs; rateLimits?: RateLimits; detail: string }
  | { kind: 'timeout' }
  | { kind: 'unreachable'; detail: string };
