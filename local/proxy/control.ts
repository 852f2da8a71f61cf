import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { type FaultProxy, parseFault, type RouteMatch } from './index.ts';

/**
 * Sets faults over HTTP: `GET /routes` lists the routes and their faults, `PUT /faults` takes `{match, fault, ttlMs}`
 * (`fault: null` heals), `DELETE /faults` heals everything. Bodies must say that they are JSON, which no page of another
 * origin can.
 */
export function createFaultControl(proxy: FaultProxy): Server {
  const app = new Hono();
  app.get('/routes', (c) =>
    c.json(
      proxy.routes.map(({ spec, port, fault }) => {
        const { from, site, service } = spec;
        return { from, site, service, port, fault: fault ?? null };
      }),
    ),
  );
  app.put('/faults', async (c) => {
    if (!c.req.header('content-type')?.startsWith('application/json')) return c.json({ error: 'must be JSON' }, 415);
    const body = (await c.req.json().catch(() => undefined)) as Record<string, unknown> | undefined;
    if (typeof body !== 'object' || body === null) return c.json({ error: 'must be a JSON object' }, 400);
    const match = parseMatch(body.match ?? {});
    if (typeof match === 'string') return c.json({ error: match }, 400);
    const fault = body.fault === null ? undefined : parseFault(body.fault);
    if (typeof fault === 'string') return c.json({ error: fault }, 400);
    const { ttlMs } = body;
    if (ttlMs !== undefined && !(typeof ttlMs === 'number' && ttlMs > 0))
      return c.json({ error: 'ttlMs: must be above 0' }, 400);
    return c.json({ routes: await proxy.setFault(match, fault, ttlMs) });
  });
  app.delete('/faults', async (c) => c.json({ routes: await proxy.setFault({}, undefined) }));
  return createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
}

function parseMatch(value: unknown): RouteMatch | string {
  if (typeof value !== 'object' || value === null) return 'match: must be an object';
  for (const [key, text] of Object.entries(value)) {
    if (key !== 'from' && key !== 'site' && key !== 'service') return `match.${key}: there is no such member`;
    if (typeof text !== 'string') return `match.${key}: must be text`;
  }
  return value as RouteMatch;
}
