import { request } from 'node:http';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { startConsole } from '../index.ts';

let console: Awaited<ReturnType<typeof startConsole>>;
beforeEach(async () => {
  const sites = [{ name: 'aws', origin: 'http://127.0.0.1:4100' }];
  console = await startConsole({ port: 0, key: 'k', sites });
});
afterEach(() => console.close());

test('the page, its script and its style are served, and may talk to the front doors only', async () => {
  for (const path of ['/', '/console.js', '/console.css']) {
    const response = await fetch(`${console.url}${path}`);
    expect([path, response.status]).toEqual([path, 200]);
    expect(response.headers.get('content-security-policy')).toContain("connect-src 'self' http://127.0.0.1:4100;");
  }
  expect(await (await fetch(`${console.url}/config.json`)).json()).toMatchObject({ key: 'k' });
});

test('nothing else is served, and nothing to a page that reaches it under another name', async () => {
  expect((await fetch(`${console.url}/../package.json`)).status).toBe(404);
  expect((await fetch(console.url, { method: 'POST' })).status).toBe(405);
  const status = await new Promise((resolve, reject) => {
    const asked = request(`${console.url}/config.json`, { headers: { host: 'rebound.example' } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on('error', reject).end();
  });
  expect(status).toBe(403);
});
