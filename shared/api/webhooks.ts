import type { Callbacks } from '../core.ts';
import { type AddressRules, guardAddress } from '../inference/address.ts';
import type { Publication } from '../journal/facts.ts';
import { canonicalBytes, sha256, utf8 } from '../journal/json.ts';
import type { Clock } from '../ports/clock.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { Log } from '../ports/log.ts';
import { type DurationMs, unixSeconds } from '../units.ts';

/** Who is told of a tenant's batches. */
export interface WebhookEndpoint {
  url: string;
  /** Standard Webhooks: `whsec_` and base64. */
  secret: string;
}

/** One POST to one of exactly these addresses, following no redirect; gives the status. */
export type Post = (request: {
  url: URL;
  addresses: readonly string[];
  headers: Record<string, string>;
  body: string;
  signal: AbortSignal;
}) => Promise<number>;

export interface CallbackOptions {
  /** Per tenant. */
  webhooks: Readonly<Record<string, WebhookEndpoint>>;
  rules: AddressRules;
  post: Post;
  clock: Clock;
  log: Log;
}

const answerMsMax: DurationMs = 10_000;

/** The event, a pure function of the publication: sent again by the other cloud, it has the same id and bytes (F31). */
export function batchEvent(publication: Publication): { id: string; body: string } {
  const id = `evt_${sha256(`batch-ended ${publication.batch}`).slice(0, 32)}`;
  const event = {
    id,
    object: 'event',
    type: `batch.${publication.status}`,
    created_at: unixSeconds(publication.endedAt),
    data: { id: publication.batch },
  };
  return { id, body: utf8(canonicalBytes(event)) };
}

/**
 * Tells tenants that a batch ended, signed as Standard Webhooks: `webhook-id` is the event id, so that a receiver can
 * drop what it had. At least once: a 2xx whose note was lost is sent again, the same bytes under the same id.
 * @source https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md 2026-08
 */
export function createCallbacks(options: CallbackOptions): Callbacks {
  return {
    async batchEnded(publication) {
      const endpoint = options.webhooks[publication.tenant];
      if (endpoint === undefined) return true;
      const { id, body } = batchEvent(publication);
      try {
        const status = await deliver(options, endpoint, id, body);
        const isTaken = status >= 200 && status < 300;
        options.log[isTaken ? 'info' : 'warn']('webhook.answered', { event: id, batch: publication.batch, status });
        return isTaken;
      } catch (error) {
        const reason = String((error as Error)?.message).slice(0, 200);
        options.log.warn('webhook.failed', { event: id, batch: publication.batch, error: reason });
        return false;
      }
    },
  };
}

async function deliver(options: CallbackOptions, endpoint: WebhookEndpoint, id: string, body: string): Promise<number> {
  const guarded = await guardAddress(endpoint.url, options.rules);
  if ('refused' in guarded) throw new Error(`the address of the webhook is refused: ${guarded.refused}`);
  // Loaded when first needed: most invocations send none, and pay for what they load.
  // Bundled, a CommonJS package has a default export alone.
  const { Webhook } = (await import('standardwebhooks')).default;
  const now = options.clock.now();
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(unixSeconds(now)),
    'webhook-signature': new Webhook(endpoint.secret).sign(id, new Date(now), body),
  };
  return withDeadline(options.clock, answerMsMax, 'webhook', (signal) =>
    options.post({ ...guarded, headers, body, signal }),
  );
}
