import { describe, expect, test } from '@jest/globals';
import { apiKeyId, createApiKey, revokeApiKey } from '../../../shared/api/keys.ts';
import { apiKeyKey, apiKeyRevokedKey } from '../../../shared/journal/keys.ts';
import { call, createWorld, fileForm, inputText, start, type World } from './support.ts';

const list = (world: World, secret: string, door: 'aws' | 'azure' = 'aws') =>
  call(world.api(door), secret, 'GET', '/v1/batches');

function callsOf(world: World): number {
  const stores = [world.hands.aws.journal.inner, world.hands.azure.journal.inner, world.hands.witness.journal.inner];
  return stores.reduce((sum, { calls }) => sum + Object.values(calls).reduce((a, b) => a + b, 0), 0);
}

describe('bearer keys', () => {
  test('are kept as hashes only, in both journals, under an id that the secret gives', async () => {
    const world = createWorld();
    const created = await createApiKey(world.core('aws'), { tenant: 'acme', role: 'viewer' });
    expect(created.secret).toMatch(/^hf_[0-9a-f]{32}$/);
    expect(created.sites).toEqual(['aws', 'azure']);
    for (const site of ['aws', 'azure'] as const) {
      const found = await world.hands[site].journal.inner.get(apiKeyKey(apiKeyId(created.secret)));
      expect(Buffer.from(found!.bytes).toString()).not.toContain(created.secret);
    }
  });

  test('a missing key and a wrong key are 401 in the OpenAI shape, and the wrong key is not repeated', async () => {
    const world = createWorld();
    const missing = await world.api('aws').request('/v1/batches');
    expect(missing.status).toBe(401);
    expect(missing.headers.get('www-authenticate')).toBe('Bearer');
    expect(await missing.json()).toEqual({
      error: { message: expect.any(String), type: 'authentication_error', param: null, code: 'missing_api_key' },
    });
    const wrong = await list(world, 'hf_guess');
    expect([wrong.status, wrong.body.error.code]).toEqual([401, 'invalid_api_key']);
    expect(JSON.stringify(wrong.body)).not.toContain('hf_guess');
  });

  test.each(['Basic aGY6eA==', 'Bearer', 'Bearer a b', `Bearer ${'x'.repeat(300)}`])(
    '%j is a 401',
    async (authorization) => {
      const response = await createWorld().api('aws').request('/v1/batches', { headers: { authorization } });
      expect(response.status).toBe(401);
    },
  );

  test('a key in the address is refused even beside a right one', async () => {
    const world = createWorld();
    const secret = await world.key();
    for (const path of [
      `/v1/batches?api_key=${secret}`,
      `/v1/batches?after=${secret}`,
      '/v1/batches?access_token=x',
      `/v1/files/${secret}`,
    ]) {
      const answer = await call(world.api('aws'), secret, 'GET', path);
      expect([path, answer.status, answer.body.error.code]).toEqual([path, 401, 'key_in_url']);
    }
  });

  test('roles: operator ⊇ submitter ⊇ viewer, a wrong role is a 403', async () => {
    const world = createWorld();
    const [viewer, submitter, operator] = [
      await world.key({ role: 'viewer' }),
      await world.key(),
      await world.key({ role: 'operator' }),
    ];
    const asks = async (secret: string) => [
      (await list(world, secret)).status,
      (await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(1)))).status,
      (await call(world.api('aws'), secret, 'POST', '/ops/v1/keys', { tenant: 'acme', role: 'viewer' })).status,
    ];
    expect(await asks(viewer)).toEqual([200, 403, 403]);
    expect(await asks(submitter)).toEqual([200, 200, 403]);
    expect(await asks(operator)).toEqual([200, 200, 200]);
    const refused = await call(world.api('aws'), viewer, 'DELETE', '/v1/files/file-0');
    expect(refused.body.error).toMatchObject({ type: 'permission_error', code: 'insufficient_role' });
  });

  test('an expired key is a 401 from the moment on', async () => {
    const world = createWorld();
    const secret = await world.key({ expiresAt: start + 10_000 });
    const api = world.api('aws');
    expect((await call(api, secret, 'GET', '/v1/batches')).status).toBe(200);
    await world.clock.advance(10_000);
    expect((await call(api, secret, 'GET', '/v1/batches')).status).toBe(401);
  });

  test.each(['aws', 'azure'] as const)('work with %s dark, on the other front door, cached or not', async (dark) => {
    const world = createWorld();
    const secret = await world.key();
    const door = dark === 'aws' ? 'azure' : 'aws';
    world.hands[dark].dark(true);
    const api = world.api(door);
    expect((await call(api, secret, 'GET', '/v1/batches')).status).toBe(200);
    await world.clock.advance(3_600_000);
    expect((await call(api, secret, 'GET', '/v1/batches')).status).toBe(200);
  });

  test('a key that only the peer holds works, and a wrong key with the peer dark is not called wrong', async () => {
    const world = createWorld();
    world.hands.aws.dark(true);
    const secret = await world.key();
    world.hands.aws.dark(false);
    expect((await list(world, secret, 'aws')).status).toBe(200);
    world.hands.azure.dark(true);
    expect((await list(world, secret, 'aws')).status).toBe(503);
  });

  test.each(['aws', 'azure'] as const)(
    'a revocation written on %s is honoured everywhere within 60 s',
    async (where) => {
      const world = createWorld();
      const secret = await world.key();
      const doors = { aws: world.api('aws'), azure: world.api('azure') };
      for (const api of Object.values(doors)) expect((await call(api, secret, 'GET', '/v1/batches')).status).toBe(200);
      // Anti-entropy has not run: the fact stands in one journal only.
      await world.hands[where].journal.inner.putIfAbsent(apiKeyRevokedKey(apiKeyId(secret)), Buffer.from('{}'));
      await world.clock.advance(60_000);
      for (const api of Object.values(doors)) expect((await call(api, secret, 'GET', '/v1/batches')).status).toBe(401);
    },
  );

  test('a cached key outlives a total outage of the stores by a minute at most', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws');
    const health = async () => (await call(api, secret, 'GET', '/ops/v1/health')).status;
    expect(await health()).toBe(200);
    for (const site of ['aws', 'azure', 'witness'] as const) world.hands[site].dark(true);
    await world.clock.advance(59_000);
    expect(await health()).toBe(200);
    await world.clock.advance(1_000);
    expect(await health()).toBe(503);
  });

  test('10,000 wrong keys in a second cost the stores less than a hundred calls, and shut no right key out', async () => {
    const world = createWorld();
    const secrets = await Promise.all(Array.from({ length: 5 }, () => world.key()));
    const api = world.api('aws');
    const before = callsOf(world);
    const answers = await Promise.all(
      Array.from({ length: 10_000 }, (_, i) => call(api, `hf_wrong${i}`, 'GET', '/v1/batches')),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));
    expect(callsOf(world) - before).toBeLessThan(150);
    for (const secret of secrets) expect((await call(api, secret, 'GET', '/ops/v1/health')).status).toBe(200);
  });

  test('a known key costs no store call for half a minute', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws');
    await call(api, secret, 'GET', '/nowhere');
    await call(api, secret, 'GET', '/v1/nowhere');
    const before = callsOf(world);
    for (let i = 0; i < 50; i++) await call(api, secret, 'GET', '/v1/nowhere');
    expect(callsOf(world) - before).toBe(0);
  });

  test('a fixed secret created again gives the same key, brought to the site that lacked it', async () => {
    const world = createWorld();
    const wanted = { tenant: 'local', role: 'operator', secret: 'hf_local_operator' } as const;
    world.hands.azure.dark(true);
    const first = await createApiKey(world.core('aws'), wanted);
    expect(first.sites).toEqual(['aws']);
    world.hands.azure.dark(false);
    await world.clock.advance(60_000);
    const again = await createApiKey(world.core('azure'), wanted);
    expect([again.key, again.sites]).toEqual([first.key, ['aws', 'azure']]);
    const bytes = await Promise.all(
      (['aws', 'azure'] as const).map((site) => world.hands[site].journal.inner.get(apiKeyKey(first.key.id))),
    );
    expect(bytes[0]!.bytes).toEqual(bytes[1]!.bytes);
  });

  test('revoking a key with one cloud dark stands in the other, and twice is harmless', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.hands.azure.dark(true);
    expect(await revokeApiKey(world.core('aws'), apiKeyId(secret), 'test')).toEqual(['aws']);
    world.hands.azure.dark(false);
    expect(await revokeApiKey(world.core('aws'), apiKeyId(secret), 'test')).toEqual(['aws', 'azure']);
    expect((await list(world, secret)).status).toBe(401);
  });

  test('a tampered key fact opens nothing', async () => {
    const world = createWorld();
    const found = await createApiKey(world.core('aws'), { tenant: 'acme', role: 'operator' });
    const id = apiKeyId('hf_mine');
    for (const site of ['aws', 'azure'] as const)
      await world.hands[site].journal.inner.putIfAbsent(apiKeyKey(id), Buffer.from(JSON.stringify(found.key)));
    expect((await list(world, 'hf_mine')).status).toBe(401);
  });
});
