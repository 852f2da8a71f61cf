import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { localConfig } from '../../local/config.ts';
import { type FaultControl, faultControl } from '../../local/faults/index.ts';
import { identityOf } from '../../local/identity.ts';
import { observationKey } from '../../shared/journal/keys.ts';
import { holdfast } from './files.ts';
import { bootMs, childrenOf, startClouds, type TestClouds, until } from './support.ts';

const limitMs = 240_000;
/** Shorter than what a monitor takes to call a site down: here nothing may fail over. */
const brief = 5_000;
let local: TestClouds;
let faults: FaultControl;
beforeAll(async () => {
  local = await startClouds();
  faults = faultControl(local.ports);
}, bootMs);
afterEach(() => faults.clear());
afterAll(() => local?.stop(), 60_000);

type Cloud = 'aws' | 'azure';
const authorization = { authorization: 'Bearer hf_local_operator' };
const list = (cloud: Cloud) => fetch(`${local.clouds[cloud]!.api}/batches?limit=1`, { headers: authorization });

function upload(cloud: Cloud, lines: string): Promise<Response> {
  const body = new FormData();
  body.set('purpose', 'batch');
  body.set('file', new Blob([lines]), 'lines.jsonl');
  return fetch(`${local.clouds[cloud]!.api}/files`, { method: 'POST', body, headers: authorization });
}

/** Uploads lines and makes a batch of them; `undefined` where the door says not now. */
async function submit(cloud: Cloud, count: number, name: string): Promise<string | undefined> {
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      custom_id: `${name}-${i}`,
      method: 'POST',
      url: '/v1/embeddings',
      body: { model: 'text-embedding-3-small', input: `sentence ${i} of ${name}`, dimensions: 8 },
    }),
  );
  const file = await idOf(await upload(cloud, `${lines.join('\n')}\n`));
  if (file === undefined) return undefined;
  const body = JSON.stringify({ input_file_id: file, endpoint: '/v1/embeddings', completion_window: '24h' });
  const headers = { ...authorization, 'content-type': 'application/json' };
  return idOf(await fetch(`${local.clouds[cloud]!.api}/batches`, { method: 'POST', body, headers }));
}

async function idOf(reply: Response): Promise<string | undefined> {
  if (reply.status === 503 || reply.status === 429) return undefined;
  if (!reply.ok) throw new Error(`${reply.url}: ${reply.status} ${await reply.text()}`);
  return ((await reply.json()) as { id: string }).id;
}

async function statusOf(cloud: Cloud, id: string): Promise<string> {
  const reply = await fetch(`${local.clouds[cloud]!.api}/batches/${id}`, { headers: authorization });
  return ((await reply.json()) as { status: string }).status;
}

const completed = (cloud: Cloud, id: string) =>
  until(async () => ((await statusOf(cloud, id)) === 'completed' ? true : undefined), `${id} is completed`, limitMs);

test(
  'holdfast observe --once, from a third place: both clouds are healthy, as it writes to every store',
  async () => {
    const { source, environment } = localConfig('observer', local.ports, identityOf(local.dataDir));
    const file = join(local.dataDir, 'third.config.json');
    writeFileSync(file, JSON.stringify(source));
    const ended = await holdfast(['observe', '--once', '--json', '--name', 'third', '--config', file], environment);
    expect({ code: ended.code, stderr: ended.code === 0 ? '' : ended.stderr }).toEqual({ code: 0, stderr: '' });
    const verdicts = ended.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(
      verdicts
        .filter(({ health }) => health === 'healthy')
        .map(({ site }) => site)
        .sort(),
    ).toEqual(['aws', 'azure']);
    for (const { state } of [...local.core.sites.values(), local.core.witness!])
      expect(await state.head(observationKey('third'))).toBeDefined();
  },
  limitMs,
);

test(
  "a store that refuses: its cloud's door says 503 as OpenAI does, the other answers, and all is well without help",
  async () => {
    const { id } = await faults.inject({ site: 'aws', service: 'store', kind: 'refuse', ttlMs: brief });
    const refused = await upload('aws', 'x');
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { message: expect.any(String), type: expect.any(String) } });
    expect((await list('azure')).status).toBe(200);
    await until(async () => ((await faults.list()).some((fault) => fault.id === id) ? undefined : true), 'it ends');
    const batch = await until(() => submit('aws', 5, 'after-refuse'), 'a batch is accepted');
    await completed('azure', batch);
  },
  limitMs,
);

test(
  'the function host of Azure is killed: another one answers, and works',
  async () => {
    const before = childrenOf(local.clouds.azure!.pid);
    await faults.inject({ site: 'azure', service: 'functions', kind: 'kill' });
    await until(async () => {
      const now = childrenOf(local.clouds.azure!.pid);
      return now.length > 0 && !now.some((pid) => before.includes(pid)) ? true : undefined;
    }, 'another host runs');
    await until(
      async () => ((await list('azure').catch(() => undefined))?.status === 200 ? true : undefined),
      'azure answers',
    );
    await completed('azure', await until(() => submit('azure', 5, 'after-kill'), 'a batch is accepted'));
  },
  limitMs,
);

test(
  'frozen pollers (F41): every door is green, batches are accepted, nothing is worked until the freeze ends',
  async () => {
    await Promise.all(
      (['aws', 'azure'] as const).map((site) =>
        faults.inject({ site, service: 'functions', kind: 'freeze', ttlMs: 2 * brief }),
      ),
    );
    // What was being received when the freeze began may still be worked: the doors must be idle first.
    const id = await until(() => submit('aws', 20, 'frozen'), 'a batch is accepted');
    for (let looks = 0; looks < 6; looks++) {
      expect([(await list('aws')).status, (await list('azure')).status]).toEqual([200, 200]);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    const held = await local.core.sites.get('aws')!.work.depth();
    const intake = await local.core.sites.get('aws')!.intake.depth();
    const other = await local.core.sites.get('azure')!.intake.depth();
    expect(held.visible + intake.visible + other.visible).toBeGreaterThan(0);
    expect(await statusOf('azure', id)).not.toBe('completed');
    await faults.clear();
    await completed('azure', id);
  },
  limitMs,
);

test(
  'a model that throttles for a while: nothing fails, and all completes when it ends',
  async () => {
    const throttle = { kind: 'throttle', service: 'model', ttlMs: brief } as const;
    await Promise.all((['aws', 'azure'] as const).map((site) => faults.inject({ site, ...throttle })));
    const id = await until(() => submit('azure', 50, 'throttled'), 'a batch is accepted');
    await completed('aws', id);
    const reply = await fetch(`${local.clouds.aws!.api}/batches/${id}`, { headers: authorization });
    expect(await reply.json()).toMatchObject({ request_counts: { total: 50, completed: 50, failed: 0 } });
  },
  limitMs,
);

test(
  'the queue of Azure takes nobody in (expired credentials, then a black hole): its triggers come back by themselves',
  async () => {
    for (const kind of ['expired-credentials', 'blackhole'] as const) {
      const { id } = await faults.inject({ site: 'azure', service: 'queue', kind, ttlMs: brief });
      await until(async () => ((await faults.list()).some((fault) => fault.id === id) ? undefined : true), 'it ends');
      await completed('azure', await until(() => submit('azure', 5, kind), 'a batch is accepted'));
    }
  },
  limitMs,
);

test(
  'kill of a whole site ends its process and its function host',
  async () => {
    const { pid } = local.clouds.aws!;
    const hosts = childrenOf(pid);
    expect(hosts.length).toBeGreaterThan(0);
    await faults.inject({ site: 'aws', kind: 'kill' });
    await expect(
      until(
        async () =>
          await list('aws').then(
            () => undefined,
            () => true,
          ),
        'aws is dark',
      ),
    ).resolves.toBe(true);
    await until(async () => (hosts.some(isAlive) ? undefined : true), 'its host is gone');
    expect((await faults.inject({ site: 'azure', service: 'link', kind: 'delay', delayMs: 1 })).dark).toEqual(['aws']);
  },
  limitMs,
);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
