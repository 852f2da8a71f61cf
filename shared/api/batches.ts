import { Hono } from 'hono';
import * as z from 'zod';
import { type Cancel, endpoints, factVersion } from '../journal/facts.ts';
import { acceptancesPrefix, batchIdPattern, cancelKey } from '../journal/keys.ts';
import { bounded, listEverywhere, recordFact } from '../journal/replicas.ts';
import { pointerMessage } from '../worker/pointers.ts';
import type { Principal } from './auth.ts';
import { listBatches } from './batch-list.ts';
import { type BatchSnapshot, batchObject, snapshotBatch } from './batch-object.ts';
import { check, readJson } from './body.ts';
import { type ApiEnv, needs } from './env.ts';
import { ApiError, notFound, unavailable } from './errors.ts';
import { expiresAfterSchema } from './files.ts';
import { acceptBatch } from './intake.ts';
import type { ApiCore } from './placement.ts';

const windowMs = 24 * 3_600_000;

const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine((value) => value.isWellFormed(), 'must be well-formed Unicode');

/** @source OPENAI_BATCH.md section 2 */
const createSchema = z.strictObject({
  input_file_id: z.string().max(200),
  endpoint: z.enum(endpoints),
  completion_window: z.literal('24h'),
  metadata: z
    .record(text(64).min(1), text(512))
    .refine((pairs) => Object.keys(pairs).length <= 16, 'at most 16 pairs')
    .nullish(),
  output_expires_after: expiresAfterSchema.nullish(),
});

const listQuerySchema = z.strictObject({
  after: z.string().max(200).optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(100)).default(20),
});

/** `/v1/batches`. @param reading see `readingCore` */
export function batchRoutes(core: ApiCore, reading: ApiCore): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const show = (snapshot: BatchSnapshot) => batchObject(snapshot, core.clock.now());
  app.post('/', needs('submitter'), async (c) => {
    const body = await readJson(c.req.raw, createSchema);
    const request = {
      endpoint: body.endpoint,
      inputFileId: body.input_file_id,
      windowMs,
      metadata: body.metadata ?? null,
      outputExpiresAfterMs: body.output_expires_after == null ? null : body.output_expires_after.seconds * 1000,
    };
    return c.json(show(await acceptBatch(core, c.get('principal'), request, c.req.header('idempotency-key'))));
  });
  app.get('/', async (c) => {
    const { limit, after } = check(listQuerySchema, c.req.query());
    const page = await listBatches(reading, c.get('principal').tenant, limit, after);
    const data = page.batches.map(show);
    return c.json({
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: page.hasMore,
    });
  });
  app.get('/:id', async (c) => c.json(show(await findBatch(reading, c.get('principal').tenant, c.req.param('id')))));
  app.post('/:id/cancel', needs('submitter'), async (c) =>
    c.json(show(await cancelBatch(core, c.get('principal'), c.req.param('id')))),
  );
  return app;
}

/**
 * A batch of the tenant.
 * @throws ApiError 404 if there is none, or it is another tenant's; 503 if a site that does not answer may know it
 */
export async function findBatch(core: ApiCore, tenant: string, id: string): Promise<BatchSnapshot> {
  const snapshot = batchIdPattern.test(id) ? await snapshotBatch(core, tenant, id) : undefined;
  if (snapshot !== undefined) return snapshot;
  if (batchIdPattern.test(id)) await refuseUnseen(core, acceptancesPrefix(tenant, id));
  throw notFound('batch', id);
}

/** What was accepted in one cloud alone is not gone because that cloud is dark. @throws ApiError 503 */
async function refuseUnseen(core: ApiCore, prefix: string): Promise<void> {
  const { unseen } = await listEverywhere(core, prefix);
  if (unseen.length > 0)
    throw unavailable('batch_unseen', `Nothing here knows this batch, and ${unseen.join(', ')} does not answer.`);
}

/**
 * Asks for cancellation: a fact in the own journal, then, best effort, in the others. How the batch ends is decided by
 * its register alone, so a completion at the same moment may win (F30). Asking again changes nothing.
 * @throws ApiError 404, or 409 where the batch has ended otherwise
 */
async function cancelBatch(core: ApiCore, principal: Principal, id: string): Promise<BatchSnapshot> {
  const snapshot = await findBatch(core, principal.tenant, id);
  const { publication } = snapshot;
  if (publication !== undefined && publication.status !== 'cancelled')
    throw new ApiError({
      status: 409,
      code: 'batch_not_cancellable',
      message: `A batch that is ${publication.status} cannot be cancelled.`,
    });
  if (publication !== undefined || snapshot.cancellingAt !== null) return snapshot;
  const cancel: Cancel = {
    v: factVersion,
    kind: 'cancel',
    batch: id,
    at: core.clock.now(),
    site: core.self,
    uuid: core.ids.uuid(),
    by: `key:${principal.keyId}`,
  };
  await recordFact(core, cancelKey(principal.tenant, id, cancel.uuid), cancel);
  await sendPublishPointer(core, snapshot);
  return { ...snapshot, cancellingAt: cancel.at };
}

/** Best effort, so that nobody waits for the next tick; the sweeper answers every cancel. */
async function sendPublishPointer(core: ApiCore, { manifest, acceptance }: BatchSnapshot): Promise<void> {
  try {
    const { epoch } = await core.control.current();
    const { tenant, batch } = manifest;
    const message = pointerMessage({ v: factVersion, kind: 'publish', tenant, batch, epoch }, core.ids.uuid());
    const { intake, id } = core.sites.get(acceptance.home)!;
    await bounded(core, id, (signal) => intake.send([message], { signal }));
  } catch (error) {
    core.log.warn('publish.unsent', { batch: manifest.batch, error: String((error as Error)?.message).slice(0, 200) });
  }
}
