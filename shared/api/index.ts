import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { createAuthenticator } from './auth.ts';
import { batchRoutes } from './batches.ts';
import type { ApiEnv, ApiOptions } from './env.ts';
import { ApiError, errorBody, toApiError } from './errors.ts';
import { fileRoutes } from './files.ts';
import { opsRoutes } from './ops.ts';
import type { ApiCore } from './placement.ts';
import { frontCore, readingCore } from './reading.ts';
import { uploadRoutes } from './uploads.ts';

export type { ApiOptions } from './env.ts';
export type { ApiCore } from './placement.ts';

/**
 * The front door: `/v1` (the OpenAI Batch API) and `/ops/v1`, the same in Lambda, in Functions, and on a laptop. Every
 * answer carries `x-request-id`; every answer that is not 2xx or 3xx is an OpenAI error object, and shows no payload.
 */
export function createApi(whole: ApiCore, options: ApiOptions): Hono<ApiEnv> {
  const core = frontCore(whole);
  const app = new Hono<ApiEnv>();
  const { authenticate } = createAuthenticator(core);
  const reading = readingCore(core);

  app.use('*', async (c, next) => {
    const startedAt = core.clock.now();
    const requestId = `req_${core.ids.uuid()}`;
    c.set('requestId', requestId);
    await next();
    c.header('x-request-id', requestId);
    c.header('x-content-type-options', 'nosniff');
    core.log.info('request.answered', {
      requestId,
      method: c.req.method,
      // Somebody may have put a key there.
      path: c.req.path.replace(/hf_[^/]*/g, 'hf_…').slice(0, 200),
      status: c.res.status,
      tenant: c.get('principal')?.tenant,
      ms: core.clock.now() - startedAt,
    });
  });
  if (options.cors.origins.length > 0)
    app.use(
      '*',
      cors({
        origin: options.cors.origins.includes('*') ? '*' : [...options.cors.origins],
        allowMethods: ['GET', 'POST', 'DELETE'],
        allowHeaders: ['authorization', 'content-type', 'idempotency-key'],
        exposeHeaders: ['x-request-id', 'retry-after'],
        maxAge: 600,
      }),
    );
  // For whoever asks whether somebody is there: no key, no store, nothing to learn.
  app.get('/healthz', (c) => c.json({ status: 'ok', site: core.self }));
  for (const path of ['/v1/*', '/ops/v1/*'])
    app.use(path, async (c, next) => {
      c.set('principal', await authenticate(c.req.raw));
      await next();
    });

  app.route('/v1/files', fileRoutes(core, reading, options));
  app.route('/v1/uploads', uploadRoutes(core, options));
  app.route('/v1/batches', batchRoutes(core, reading));
  app.route('/ops/v1', opsRoutes(whole, reading, options));

  app.onError((error, c) => {
    const answer = toApiError(error);
    if (answer.status >= 500)
      core.log[answer.status === 500 ? 'error' : 'warn']('request.failed', {
        requestId: c.get('requestId'),
        code: answer.code,
        error: `${error.name}: ${error.message}`.slice(0, 500),
      });
    return c.json(errorBody(answer), answer.status as 400, answer.headers);
  });
  app.notFound((c) => {
    const allowed = methodsOf(app, c.req.path);
    const answer =
      allowed.length === 0
        ? new ApiError({ status: 404, code: 'unknown_url', message: `Unknown request URL: ${c.req.method}.` })
        : new ApiError({
            status: 405,
            code: 'method_not_allowed',
            message: `This URL takes ${allowed.join(', ')}.`,
            headers: { allow: allowed.join(', ') },
          });
    return c.json(errorBody(answer), answer.status as 404, answer.headers);
  });
  return app;
}

/** Methods that some route takes at this path. */
function methodsOf(app: Hono<ApiEnv>, path: string): string[] {
  const steps = path.split('/');
  const fits = (pattern: string) => {
    const parts = pattern.split('/');
    return parts.length === steps.length && parts.every((part, i) => part === steps[i] || part.startsWith(':'));
  };
  return [
    ...new Set(app.routes.filter(({ method, path }) => method !== 'ALL' && fits(path)).map(({ method }) => method)),
  ];
}
