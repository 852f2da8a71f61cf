import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { ConfigError } from '../../shared/errors.ts';
import type { FaultBoard } from './board.ts';
import { parseFaultOrder } from './order.ts';

const idForm = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * Faults over HTTP, at 127.0.0.1: `GET /faults` lists those that hold, `PUT /faults/ID` injects one (again: nothing
 * happens), `DELETE /faults/ID` and `DELETE /faults` end them. Bodies must say that they are JSON, and nobody may come
 * by another name than this machine's own, which keeps pages of other origins out.
 * @throws ConfigError when the port is taken
 */
export async function serveFaults(board: FaultBoard, port: number): Promise<{ port: number; close(): Promise<void> }> {
  const app = new Hono();
  app.use(async (c, next) => {
    const name = new URL(c.req.url).hostname;
    if (name !== '127.0.0.1' && name !== 'localhost')
      return c.json({ error: `host: ${name} is not this machine` }, 403);
    return next();
  });
  app.get('/faults', (c) => c.json({ faults: board.list() }));
  app.put('/faults/:id', async (c) => {
    const id = c.req.param('id');
    if (!idForm.test(id)) return c.json({ error: 'id: must be 1 to 64 letters, digits, _ or -' }, 400);
    if (!c.req.header('content-type')?.startsWith('application/json')) return c.json({ error: 'must be JSON' }, 415);
    const order = parseFaultOrder(await c.req.json().catch(() => undefined));
    if (typeof order === 'string') return c.json({ error: order }, 400);
    return c.json({ struck: await board.inject(id, order) });
  });
  app.delete('/faults/:id', async (c) => c.json({ ended: await board.clear(c.req.param('id')) }));
  app.delete('/faults', async (c) => c.json({ ended: await board.clear() }));
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new ConfigError('port', `cannot listen on 127.0.0.1:${port} (faults): ${cause.message}`, { cause })),
    );
    server.listen(port, '127.0.0.1', resolve);
  });
  const listening = (server.address() as { port: number }).port;
  return {
    port: listening,
    async close() {
      board.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
