import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { modelCatalog, resolveConfig } from '../../../shared/config/index.ts';
import { environment, source } from '../config/support.ts';
import { Clouds, Folder, holdfast } from './support.ts';

let clouds: Clouds;
let folder: Folder;
beforeEach(async () => {
  clouds = await Clouds.start();
  folder = new Folder();
});
afterEach(async () => {
  folder.remove();
  await clouds.close();
});

const price = { input: 2, output: 8 };
const entryOf = (more: object = {}) => ({
  aws: { url: 'http://a.example/v1', model: 'm-8b', price, limits: { tokensPerMinute: 90_000 } },
  azure: { kind: 'azure-openai', url: 'https://r.openai.azure.com', name: 'aoai', model: 'm-deployment' },
  ...more,
});

/** Deploys this model map to both clouds. */
function deploy(models: object): void {
  const config = { ...source(), models };
  clouds.world.models = modelCatalog(resolveConfig(config, environment));
}

async function ended(): Promise<string> {
  const argv = ['submit', folder.file('in.jsonl'), '--wait', '--json', '--poll-ms', '5', ...clouds.flags];
  return (await holdfast(argv)).json.batch.id;
}

describe('models', () => {
  test('shows what serves an alias in each cloud, its limits and its price', async () => {
    deploy({ m: entryOf() });
    const { exitCode, stdout } = await holdfast(['models', ...clouds.flags]);
    expect(stdout).toMatch(/m {2}same_model, by the weights of the sites, waits while no site may serve it/);
    expect(stdout).toMatch(/aws +openai +m-8b +http:\/\/a.example\/v1 +90000 tokens\/min +\$2 in, \$2 cached, \$8 out/);
    expect(stdout).toMatch(
      /azure +azure-openai +m-deployment +https:\/\/r.openai.azure.com\/openai\/v1 +no limits known +price unknown/,
    );
    expect(stdout).toContain('Nothing is wrong.');
    expect(exitCode).toBe(0);
  });

  test('names an alias without a permitted stand-in, and exits 1', async () => {
    deploy({ m: entryOf({ clouds: ['azure', 'aws'], azure: { url: 'http://b/v1', identity: 'other' } }) });
    const { exitCode, json } = await holdfast(['models', '--json', ...clouds.flags]);
    expect(exitCode).toBe(1);
    expect(json.problems).toEqual(['m is unprotected: only azure may serve it']);
    expect(json.clouds.aws.page.data[0]).toMatchObject({
      sites: ['azure'],
      unprotected: true,
      backends: [{ is_permitted: false }, { is_permitted: true }],
    });
  });

  test('--check asks each backend from the cloud that uses it', async () => {
    deploy({ m: entryOf() });
    clouds.checkModel = async (cloud, alias) => ({
      alias,
      site: cloud,
      backend: cloud,
      endpoint: '/v1/chat/completions',
      answers: cloud === 'aws',
      ms: 7,
      detail: cloud === 'aws' ? 'm-8b' : 'status 401: no',
    });
    const { exitCode, stdout } = await holdfast(['models', '--check', ...clouds.flags]);
    const { json } = await holdfast(['models', 'm', '--check', '--json', ...clouds.flags]);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('answers in 7 ms as m-8b');
    expect(stdout).toContain('m at azure (azure) does not answer: status 401: no');
    expect(json.clouds.azure.checks).toMatchObject([{ alias: 'm', answers: false }]);
  });

  test('one cloud gone: the other shows its map, and the silence is named', async () => {
    deploy({ m: entryOf() });
    await clouds.kill('azure');
    const { exitCode, json } = await holdfast(['models', '--json', ...clouds.flags]);
    expect(exitCode).toBe(1);
    expect(json.problems).toEqual([expect.stringMatching(/^azure does not show its map: /)]);
    await clouds.kill('aws');
    expect((await holdfast(['models', ...clouds.flags])).exitCode).toBe(3);
  });

  test('two clouds with different rules for an alias are named, other addresses are not', async () => {
    const both = [
      entryOf(),
      entryOf({ aws: { url: 'http://b.example/v1', model: 'm-8b', price, limits: { tokensPerMinute: 90_000 } } }),
    ];
    const maps = both.map((m) => modelCatalog(resolveConfig({ ...source(), models: { m } }, environment)));
    let asked = 0;
    clouds.world.models = { ...maps[0]!, entryOf: (alias) => maps[asked++ % 2]!.entryOf!(alias) };
    expect((await holdfast(['models', '--json', ...clouds.flags])).json.problems).toEqual([]);
    maps[1] = modelCatalog(resolveConfig({ ...source(), models: { m: entryOf({ policy: 'any' }) } }, environment));
    expect((await holdfast(['models', '--json', ...clouds.flags])).json.problems).toEqual([
      'm: the two clouds were deployed with different entries',
    ]);
  });

  test('an alias that is not named is served, and checked, as all others are', async () => {
    deploy({ m: entryOf(), '*': { aws: { url: 'http://any/v1' }, azure: { url: 'http://other/v1' } } });
    clouds.checkModel = async (site, alias) => ({
      alias,
      site,
      backend: site,
      endpoint: '/v1/chat/completions',
      answers: true,
      ms: 1,
      detail: alias,
    });
    const { exitCode, stdout } = await holdfast(['models', 'x', '--check', ...clouds.flags]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/http:\/\/any\/v1 .* answers in 1 ms as x/);
    expect(stdout).not.toContain('m-8b');
  });

  test('an alias that nobody names', async () => {
    deploy({ m: entryOf() });
    const { exitCode, stderr } = await holdfast(['models', 'x', ...clouds.flags]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('No cloud serves the model x.');
  });
});

describe('cost', () => {
  /** The model of the test world is named `fake` in its results. */
  const priced = {
    m: { aws: { url: 'http://a/v1', name: 'fake', price }, azure: { url: 'http://b/v1', name: 'fake', price } },
  };

  test('of a batch: tokens, dollars of inference, dollars of plumbing', async () => {
    deploy(priced);
    const batch = await ended();
    const { json, exitCode } = await holdfast(['cost', batch, '--json', ...clouds.flags]);
    expect(exitCode).toBe(0);
    // 12 lines of 3 tokens in and 2 out.
    expect(json.chosen).toMatchObject({ lines: 12, input_tokens: 36, output_tokens: 24 });
    expect(json.chosen.dollars).toBeCloseTo((36 * 2 + 24 * 8) / 1e6, 12);
    expect(json.repeats).toMatchObject({ lines: 0, dollars: 0 });
    expect(json.status).toBe('ended');
    expect(json.dollars).toBeCloseTo(json.chosen.dollars + json.plumbing_dollars, 12);
    expect(
      json.plumbing.map(({ cloud, operation }: { cloud: string; operation: string }) => `${cloud} ${operation}`),
    ).toEqual(expect.arrayContaining(['aws store_write', 'azure store_write']));
    const { stdout } = await holdfast(['cost', batch, ...clouds.flags]);
    expect(stdout).toMatch(/inference +12 +36 +0 +24 +\$0.000264/);
    expect(stdout).toContain('List prices of 2026-11');
  });

  test('without a price: unknown, and never zero', async () => {
    deploy({ m: { aws: { url: 'http://a/v1', name: 'fake' }, azure: { url: 'http://b/v1', name: 'fake' } } });
    const batch = await ended();
    const { json } = await holdfast(['cost', batch, '--json', ...clouds.flags]);
    expect(json).toMatchObject({ chosen: { lines: 12, dollars: null }, dollars: null });
    expect(json.plumbing_dollars).toBeGreaterThan(0);
    expect((await holdfast(['cost', batch, ...clouds.flags])).stdout).toMatch(/together: unknown/);
  });

  test('of the newest batches, one line each and their sum', async () => {
    deploy(priced);
    const ids = [await ended(), await ended()];
    const { json } = await holdfast(['cost', '--json', ...clouds.flags]);
    expect(json.data.map(({ batch }: { batch: string }) => batch).sort()).toEqual(ids.sort());
    expect(json.chosen.lines).toBe(24);
    expect((await holdfast(['cost', '--limit', '1', ...clouds.flags])).stdout).toContain('There are more');
  });

  test('an unknown batch, and a limit that is none', async () => {
    expect((await holdfast(['cost', `batch_${'0'.repeat(32)}`, ...clouds.flags])).exitCode).not.toBe(0);
    expect((await holdfast(['cost', '--limit', '0', ...clouds.flags])).exitCode).toBe(2);
  });
});
