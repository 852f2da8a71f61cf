import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import { codeOf } from '../../shared/errors.ts';
import type { Clock } from '../../shared/ports/clock.ts';
import { type EpochMs, unixSeconds } from '../../shared/units.ts';
import { parseBehaviour } from './behaviour.ts';
import type { Counters, Endpoint } from './counters.ts';
import { Exchange } from './exchange.ts';
import { modelNotFound, Refusal } from './refusal.ts';
import type { CallServer } from './serve-call.ts';
import type { BehaviourSettings } from './settings.ts';

/** What the routes act on. */
export interface AppServices {
  readonly name: string;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly settings: BehaviourSettings;
  readonly calls: CallServer;
  /** The only models there are; null: any name is a model, and those seen are listed. */
  readonly models: readonly string[] | null;
  readonly startedAt: EpochMs;
}

type Env = { Bindings: HttpBindings };

/** The largest body of a control request, and of nothing else. */
const CONTROL_BYTES_MAX = 1_000_000;

/** All routes: the OpenAI API under `/v1` and, as Azure has it, `/openai/v1`; health and control beside it. */
export function createApp(services: AppServices): Hono<Env> {
  const app = new Hono<Env>();
  for (const base of ['/v1', '/openai/v1']) app.route(base, modelRoutes(services));
  app.route('/control', controlRoutes(services));
  app.get('/healthz', (c) => c.json({ status: 'ok', name: services.name }));
  app.notFound((c) => refuse(c, new Refusal(404, { message: `Invalid URL (${c.req.method} ${c.req.path})` })));
  app.onError((error, c) => {
    if (error instanceof Refusal) return refuse(c, error);
    console.error(error);
    return refuse(c, new Refusal(500, { message: 'This server has a bug.', type: 'server_error', code: 'bug' }));
  });
  return app;
}

function modelRoutes({ calls, counters, models, startedAt }: AppServices): Hono<Env> {
  const routes = new Hono<Env>();
  const serve = (endpoint: Endpoint) => async (c: Context<Env>) => {
    await calls.serve(endpoint, new Exchange(c.env.incoming, c.env.outgoing));
    return RESPONSE_ALREADY_SENT;
  };
  routes.post('/chat/completions', serve('/v1/chat/completions'));
  routes.post('/responses', serve('/v1/responses'));
  routes.post('/embeddings', serve('/v1/embeddings'));

  const model = (id: string) => ({ id, object: 'model', created: unixSeconds(startedAt), owned_by: 'holdfast-local' });
  routes.get('/models', (c) => c.json({ object: 'list', data: (models ?? counters.models()).map(model) }));
  routes.get('/models/:id{.+}', (c) => {
    const id = c.req.param('id');
    if (models !== null && !models.includes(id)) throw modelNotFound(id);
    return c.json(model(id));
  });
  return routes;
}

function controlRoutes({ clock, counters, settings }: AppServices): Hono<Env> {
  const routes = new Hono<Env>();
  routes.get('/counters', (c) => c.json(counters.read({ inputs: c.req.query('inputs') !== 'none' })));
  routes.post('/counters/reset', (c) => {
    counters.reset(clock.now());
    return c.json({ reset: true });
  });
  routes.get('/behaviour', (c) => c.json({ settings: settings.list(clock.now()) }));
  routes.get('/behaviour/:model{.+}', (c) => c.json(settings.of(c.req.param('model'), clock.now())));
  routes.put('/behaviour/:model{.+}', async (c) => {
    const model = c.req.param('model');
    const now = clock.now();
    const patch = readPatch(await new Exchange(c.env.incoming, c.env.outgoing).readText(CONTROL_BYTES_MAX));
    const ttlMs = readTtl(c.req.query('ttl_ms'));
    settings.set({ model, patch, until: ttlMs === null ? null : now + ttlMs }, now);
    return c.json(settings.of(model, now));
  });
  routes.delete('/behaviour/:model{.+}', (c) => {
    settings.reset(c.req.param('model'));
    return c.json(settings.of(c.req.param('model'), clock.now()));
  });
  return routes;
}

function readPatch(text: string) {
  try {
    return parseBehaviour(JSON.parse(text), 'behaviour');
  } catch (error) {
    const param = codeOf(error) === 'config_invalid' ? (error as { key?: string }).key : 'body';
    throw new Refusal(400, { message: (error as Error).message, param: param ?? null, code: 'invalid_behaviour' });
  }
}

function readTtl(text: string | undefined): number | null {
  if (text === undefined) return null;
  const ttlMs = Number(text);
  if (ttlMs > 0 && Number.isFinite(ttlMs)) return ttlMs;
  throw new Refusal(400, { message: `ttl_ms: '${text}' is not a time in ms`, param: 'ttl_ms', code: 'invalid_value' });
}

function refuse(c: Context, refusal: Refusal): Response {
  return c.json({ error: refusal.error }, { status: refusal.status as 400, headers: { ...refusal.headers } });
}
