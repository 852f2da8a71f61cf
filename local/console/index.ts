import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';

const files = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/console.css': ['console.css', 'text/css; charset=utf-8'],
  '/console.js': ['console.js', 'text/javascript; charset=utf-8'],
} as const;

export interface ConsoleOptions {
  port: number;
  /** What the page signs in with; it is served to whoever reaches the port, which is bound to loopback. */
  key: string;
  sites: readonly { name: string; origin: string }[];
}

/** Serves `console/` and what the page needs to know, on loopback. @throws Error EADDRINUSE */
export async function startConsole(options: ConsoleOptions): Promise<{ url: string; close(): Promise<void> }> {
  const { port, key, sites } = options;
  const origins = sites.map(({ origin }) => origin).join(' ');
  const policy = `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${origins}; base-uri 'none'`;
  const folder = join(import.meta.dirname, '../../console');
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://console').pathname;
    const headers = {
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    };
    const file = files[path as keyof typeof files];
    // A page of another origin must not be given the key by a name that points here.
    const host = (request.headers.host ?? '').replace(/:\d+$/, '');
    if (host !== '127.0.0.1' && host !== 'localhost') response.writeHead(403, headers).end();
    else if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405, headers).end();
    else if (path === '/config.json')
      response.writeHead(200, { ...headers, 'content-type': 'application/json' }).end(JSON.stringify({ key, sites }));
    else if (file === undefined) response.writeHead(404, headers).end();
    else response.writeHead(200, { ...headers, 'content-type': file[1] }).end(await readFile(join(folder, file[0])));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
