import { z } from 'zod';
import type { DurationMs } from '../../shared/units.ts';
import { answerKinds, type Fault, wireKinds } from '../proxy/faults.ts';
import type { RouteSpec } from '../proxy/route.ts';

export const sites = ['aws', 'azure', 'witness'] as const;
export type FaultSite = (typeof sites)[number];

/**
 * What of a site is struck. `functions`: what runs them, API and triggers. `link`: what the functions of one cloud call
 * of the other.
 */
export const services = ['store', 'queue', 'model', 'functions', 'api', 'link'] as const;
export type FaultService = (typeof services)[number];

/**
 * Beside what is done on routes (see `Fault`): `freeze` stops all polling while every API stays green; `kill` is
 * `kill -9`. Of `functions`, `refuse` keeps the host from running while it lasts.
 */
export const kinds = [...wireKinds, ...answerKinds, 'freeze', 'kill'] as const;
export type FaultKind = (typeof kinds)[number];

/** The longest that a fault can be told to hold: it ends by itself within a day. */
export const ttlMsMax: DurationMs = 24 * 60 * 60_000;
/** A longer delay would be a black hole. */
const delayMsMax: DurationMs = 600_000;
/** Of `partial`, where nothing is said. */
const partialShare = 0.5;

/** Kinds by what is struck; `site` is a cloud as a whole: all of its services, and the link both ways. */
const allowed: Record<FaultService | 'site' | 'witness', readonly FaultKind[]> = {
  store: [...wireKinds, 'error', 'throttle', 'readonly', 'expired-credentials', 'partial'],
  queue: [...wireKinds, 'error', 'throttle', 'expired-credentials', 'partial'],
  model: [...wireKinds, 'error', 'throttle', 'expired-credentials', 'partial', 'hang'],
  functions: ['freeze', 'kill', 'refuse'],
  api: [...wireKinds, 'error', 'throttle', 'expired-credentials', 'partial', 'hang'],
  link: [...wireKinds, 'error', 'throttle', 'expired-credentials', 'partial'],
  site: [...wireKinds, 'error', 'throttle', 'expired-credentials', 'partial', 'kill'],
  witness: [...wireKinds, 'error', 'throttle', 'readonly', 'expired-credentials', 'partial', 'kill'],
};

/** A fault as it is asked for. */
export interface FaultOrder {
  readonly site: FaultSite;
  /** Absent: the whole site. */
  readonly service?: FaultService;
  readonly kind: FaultKind;
  /**
   * Of a service: bytes to it, or from it (requests take effect, replies are lost); of `blackhole` and `delay` alone. Of
   * `link` and of a whole site: calls that go to the site, or that leave it; of every kind. Default both.
   */
  readonly direction?: 'to' | 'from' | 'both';
  /** Above 0, at most 1. Default: all; of `partial` 0.5. */
  readonly share?: number;
  /** Of `delay`, which needs it. */
  readonly delayMs?: DurationMs;
  /** Only requests that name this model, as the model server knows it. */
  readonly model?: string;
  /** Of the dice that `share` throws. Default 1. */
  readonly seed?: number;
  /** After this it ends by itself. Default 60,000, at most a day. `kill` has none. */
  readonly ttlMs: DurationMs;
}

const orderSchema = z.strictObject({
  site: z.enum(sites),
  service: z.enum(services).optional(),
  kind: z.enum(kinds),
  direction: z.enum(['to', 'from', 'both']).optional(),
  share: z.number().positive().max(1).optional(),
  delayMs: z.number().min(0).max(delayMsMax).optional(),
  model: z.string().min(1).max(256).optional(),
  seed: z.int().min(0).optional(),
  ttlMs: z.number().positive().max(ttlMsMax).default(60_000),
});

/** Parses what was asked for. @returns the order, or what is wrong with it, naming the member */
export function parseFaultOrder(value: unknown): FaultOrder | string {
  const parsed = orderSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return `${issue?.path.join('.') || 'fault'}: ${issue?.message}`;
  }
  const order = parsed.data as FaultOrder;
  return whatIsWrong(order) ?? order;
}

function whatIsWrong({ site, service, kind, direction, share, delayMs, model }: FaultOrder): string | undefined {
  if (site === 'witness' && service !== undefined) return 'service: the witness has none';
  const subject = site === 'witness' ? 'witness' : (service ?? 'site');
  if (!allowed[subject].includes(kind))
    return `kind: ${kind} is none of ${nameOf({ site, service })}'s, which are ${allowed[subject].join(', ')}`;
  const isWhole = service === undefined || service === 'link';
  const isAct = kind === 'kill' || service === 'functions';
  if (isAct && (direction ?? share ?? model) !== undefined) return `kind: ${kind} takes no direction, share or model`;
  if (direction !== undefined && site === 'witness' && kind !== 'blackhole' && kind !== 'delay')
    return `direction: ${kind} of a service has none`;
  if (direction !== undefined && !isWhole && kind !== 'blackhole' && kind !== 'delay')
    return `direction: ${kind} of a service has none`;
  if ((kind === 'delay') !== (delayMs !== undefined)) return 'delayMs: belongs to delay, which needs it';
  if (model !== undefined && service !== 'model') return 'model: only the model service has models';
  return undefined;
}

/** `aws/store`, `witness`. */
export function nameOf({ site, service }: Pick<FaultOrder, 'site' | 'service'>): string {
  return service === undefined ? site : `${site}/${service}`;
}

/** True if what passes on this route is struck. */
export function isStruck(order: FaultOrder, route: Pick<RouteSpec, 'from' | 'site' | 'service' | 'protocol'>): boolean {
  const { site, service, direction = 'both', kind } = order;
  if (kind === 'readonly' && route.protocol !== 's3' && route.protocol !== 'blob') return false;
  const leaves = route.from === site && route.site !== site;
  const arrives = route.site === site;
  if (site === 'witness') return arrives;
  if (service === undefined) return (direction !== 'from' && arrives) || (direction !== 'to' && leaves);
  if (service === 'link') {
    if (route.site === 'witness') return false;
    const comes = arrives && (route.from === 'aws' || route.from === 'azure') && route.from !== site;
    return (direction !== 'from' && comes) || (direction !== 'to' && leaves);
  }
  return arrives && (route.service === service || (service === 'queue' && route.service === 'queue-admin'));
}

/** What is done on each of those routes. */
export function routeFault(order: FaultOrder): Fault {
  const { site, service, kind, direction, delayMs, model, seed } = order;
  const share = order.share ?? (kind === 'partial' ? partialShare : undefined);
  const isOfBytes = site === 'witness' || (service !== undefined && service !== 'link');
  const way = direction === undefined || direction === 'both' ? undefined : direction === 'to' ? 'there' : 'back';
  return {
    kind: kind as Fault['kind'],
    ...(isOfBytes && way !== undefined && { way }),
    ...(delayMs !== undefined && { ms: delayMs }),
    ...(share !== undefined && share < 1 && { share }),
    ...(model !== undefined && { model }),
    ...(seed !== undefined && { seed }),
  };
}
