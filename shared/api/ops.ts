import { Hono } from 'hono';
import * as z from 'zod';
import { roles } from '../journal/facts.ts';
import { batchIdPattern, sitePattern, tenantPattern } from '../journal/keys.ts';
import { bounded } from '../journal/replicas.ts';
import type { Queue } from '../ports/queue.ts';
import type { Stores } from '../ports/site.ts';
import { unixSeconds } from '../units.ts';
import { type Principal, roleAllows } from './auth.ts';
import { check, readJson } from './body.ts';
import { type ApiEnv, type ApiOptions, needs } from './env.ts';
import { ApiError, badRequest, notFound } from './errors.ts';
import { explainLine } from './explain.ts';
import { createApiKey, revokeApiKey } from './keys.ts';
import { controlRoutes } from './ops-control.ts';
import { modelRoutes } from './ops-models.ts';
import type { ApiCore } from './placement.ts';

const newKeySchema = z.strictObject({
  tenant: z.string().regex(tenantPattern, 'must be 1 to 63 of a-z, 0-9, hyphen and underscore'),
  role: z.enum(roles),
  expires_in_seconds: z.int().min(1).optional(),
  bound_to: z.string().regex(sitePattern, 'must be a site id').nullish(),
});

const tenantQuerySchema = z.strictObject({ tenant: newKeySchema.shape.tenant.optional() });
const costQuerySchema = tenantQuerySchema.extend({
  limit: z.coerce.number().int().min(1).max(50).optional(),
  after: z.string().optional(),
});

/** `/ops/v1`: for the people who run it, and for tenants to see into their own batches. @param reading see `readingCore` */
export function opsRoutes(core: ApiCore, reading: ApiCore, options: ApiOptions): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();

  app.get('/explain/:batch/:customId', async (c) => {
    const { tenant: wanted } = check(tenantQuerySchema, c.req.query());
    const tenant = seenTenant(c.get('principal'), wanted);
    const { batch, customId } = c.req.param();
    const story = batchIdPattern.test(batch) ? await explainLine(reading, tenant, batch, customId) : undefined;
    if (story === undefined) throw notFound('line of a batch', `${batch}/${customId}`);
    return c.json(story);
  });

  app.get('/cost', async (c) => {
    const { tenant: wanted, limit = 10, after } = check(costQuerySchema, c.req.query());
    const { costOfBatches } = await import('./cost.ts');
    return c.json(await costOfBatches(reading, seenTenant(c.get('principal'), wanted), limit, after));
  });

  app.get('/cost/:batch', async (c) => {
    const { tenant: wanted } = check(tenantQuerySchema, c.req.query());
    const tenant = seenTenant(c.get('principal'), wanted);
    const batch = c.req.param('batch');
    const { costOfBatch } = await import('./cost.ts');
    const cost = batchIdPattern.test(batch) ? await costOfBatch(reading, tenant, batch) : undefined;
    if (cost === undefined) throw notFound('batch', batch);
    return c.json(cost);
  });

  app.route('/models', modelRoutes(core, options));

  app.get('/health', async (c) => c.json(await health(core, options)));

  app.post('/keys', needs('operator'), async (c) => {
    const body = await readJson(c.req.raw, newKeySchema);
    if (body.bound_to != null && !core.sites.has(body.bound_to))
      throw badRequest('invalid_value', "Invalid value for 'bound_to': no site of that id.", 'bound_to');
    const expiresAt = body.expires_in_seconds === undefined ? null : core.clock.now() + body.expires_in_seconds * 1000;
    const { tenant, role, bound_to: boundTo } = body;
    const { secret, key, sites } = await createApiKey(core, { tenant, role, expiresAt, boundTo });
    return c.json({
      id: key.id,
      object: 'api_key',
      /** Shown now and never again. */
      secret,
      tenant,
      role,
      created_at: unixSeconds(key.createdAt),
      expires_at: key.expiresAt === null ? null : unixSeconds(key.expiresAt),
      bound_to: key.boundTo,
      sites,
    });
  });

  app.delete('/keys/:id', needs('operator'), async (c) => {
    const id = c.req.param('id');
    if (!/^[0-9a-f]{16}$/.test(id)) throw notFound('API key', id);
    const sites = await revokeApiKey(core, id, `key:${c.get('principal').keyId}`);
    return c.json({ id, object: 'api_key', revoked: true, sites });
  });

  app.route('/', controlRoutes(core, reading));
  return app;
}

/** The tenant that is asked for, else the key's own. @throws ApiError 403 */
function seenTenant(principal: Principal, wanted: string | undefined): string {
  if (wanted === undefined || wanted === principal.tenant) return principal.tenant;
  if (roleAllows(principal.role, 'operator')) return wanted;
  throw new ApiError({ status: 403, code: 'insufficient_role', message: 'Only operators see other tenants.' });
}

/** What this site sees now: its control entry, and whether each store answers a read. */
async function health(core: ApiCore, options: ApiOptions) {
  const voters: Stores[] = [...core.sites.values(), ...(core.witness === undefined ? [] : [core.witness])];
  const [control, quarantined, queues, ...stores] = await Promise.all([
    core.control.current().catch(() => undefined),
    countQuarantined(core),
    readDepths(core),
    ...voters.flatMap((voter) => [probe(core, voter, 'journal'), probe(core, voter, 'state')]),
  ]);
  return {
    object: 'health',
    site: core.self,
    version: options.version,
    at: new Date(core.clock.now()).toISOString(),
    control:
      control === undefined
        ? null
        : {
            epoch: control.epoch,
            frozen: control.frozen,
            sites: Object.fromEntries(
              Object.entries(control.sites).map(([id, { state, weight }]) => [id, { state, weight }]),
            ),
          },
    stores,
    queues,
    has_witness: core.witness !== undefined,
    /** Objects that were no facts we could take, up to 1,000; `null` where the own store does not answer. */
    quarantined,
  };
}

/** What `/ops/v1/health` answers. */
export type Health = Awaited<ReturnType<typeof health>>;

async function probe(core: ApiCore, voter: Stores, part: 'journal' | 'state') {
  const startedAt = core.clock.now();
  try {
    await bounded(core, voter.id, (signal) => voter[part].list('control/', { limit: 1, signal }));
    return { store: `${voter.id}/${part}`, answers: true, ms: core.clock.now() - startedAt };
  } catch (error) {
    return {
      store: `${voter.id}/${part}`,
      answers: false,
      ms: core.clock.now() - startedAt,
      error: String((error as { code?: unknown })?.code ?? 'unknown'),
    };
  }
}

/** Depths of the own site's queues; approximate, as clouds count. */
async function readDepths(core: ApiCore) {
  const { id, intake, work } = core.sites.get(core.self)!;
  const read = async (name: string, queue: Queue) => {
    try {
      const { visible, inFlight, delayed, deadLettered } = await bounded(core, id, (signal) => queue.depth({ signal }));
      return { queue: name, answers: true, visible, in_flight: inFlight, delayed, dead_lettered: deadLettered };
    } catch (error) {
      return { queue: name, answers: false, error: String((error as { code?: unknown })?.code ?? 'unknown') };
    }
  };
  return Promise.all([read(`${id}/intake`, intake), read(`${id}/work`, work)]);
}

async function countQuarantined(core: ApiCore): Promise<number | null> {
  const { state } = core.sites.get(core.self)!;
  return state.list('quarantine/').then(
    ({ entries }) => entries.length,
    () => null,
  );
}
