import { describe, expect, test } from '@jest/globals';
import { backendFor, type Environment, modelCatalog, resolveConfig } from '../../../shared/config/index.ts';
import type { ConfigError } from '../../../shared/errors.ts';
import type { Endpoint } from '../../../shared/journal/facts.ts';
import { defaultSettings } from '../../../shared/settings.ts';
import { environment, source } from './support.ts';

/** Every error that a configuration is refused with, as text. */
function refusals(config: unknown, env: Environment = environment): string[] {
  try {
    resolveConfig(config, env);
    return [];
  } catch (error) {
    const cause = (error as ConfigError).cause;
    const errors = cause instanceof AggregateError ? (cause.errors as ConfigError[]) : [error as ConfigError];
    for (const one of errors) {
      expect(one).toMatchObject({ name: 'ConfigError', code: 'config_invalid' });
      expect(one.message.startsWith(`${one.key}:`)).toBe(true);
    }
    return errors.map((one) => one.message);
  }
}

/** The whole configuration with one thing set at a dotted path (`undefined` removes it). */
// biome-ignore lint/suspicious/noExplicitAny: what YAML gives
function having(path: string, value: unknown): any {
  const config = source();
  const steps = path.split('/');
  const last = steps.pop()!;
  let at = config;
  for (const step of steps) at = at[step] ??= {};
  if (value === undefined) delete at[last];
  else at[last] = value;
  return config;
}

/** What a backend says that names no limits and no price. */
const unsaid = { kind: 'openai', identity: null, family: null, limits: {}, price: null };

describe('a configuration that holds', () => {
  const config = resolveConfig(source(), environment);

  test('resolves to every field, defaults included', () => {
    expect(config).toEqual({
      self: 'aws',
      sites: {
        aws: {
          cloud: 'aws',
          region: 'us-east-1',
          generation: 1,
          journal: 'holdfast-journal',
          state: 'holdfast-state',
          api: null,
          endpoint: null,
          lambdaEndpoint: null,
          queues: {
            intake: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-intake',
            work: environment.WORK_URL,
            intakeDeadLetters: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-intake-dlq',
            workDeadLetters: 'https://sqs.us-east-1.amazonaws.com/1/holdfast-work-dlq',
          },
          credentials: null,
        },
        azure: {
          cloud: 'azure',
          region: 'eastus',
          generation: 1,
          journal: 'holdfast-journal',
          state: 'holdfast-state',
          api: null,
          blobEndpoint: 'https://holdfast.blob.core.windows.net',
          namespace: 'holdfast.servicebus.windows.net',
          administrationEndpoint: null,
          credentials: { storageConnection: environment.BLOB, serviceBusConnection: environment.BUS },
        },
      },
      witness: {
        endpoint: 'https://witness.example',
        region: 'auto',
        journal: 'holdfast-journal',
        state: 'holdfast-state',
        credentials: { accessKeyId: 'id', secretAccessKey: 'witness-secret', sessionToken: null },
        contentKey: environment.WITNESS_CONTENT_KEY,
      },
      settings: {
        ...defaultSettings,
        tickMs: 2000,
        chunks: { ...defaultSettings.chunks, text: { ...defaultSettings.chunks.text, linesMax: 25 } },
      },
      models: {
        small: {
          // `equivalent` was its name once.
          policy: 'any',
          clouds: ['aws', 'azure'],
          placement: 'weights',
          weights: null,
          unplaced: 'wait',
          aws: { ...unsaid, name: 'aws', url: 'https://models.example/v1', model: 'small-8b', apiKey: 'model-key' },
          azure: { ...unsaid, name: 'vllm', url: 'http://10.0.0.7:8000/v1', model: null, apiKey: null },
        },
      },
      drills: null,
      health: {
        references: expect.any(Array),
        canaries: true,
        canary: null,
      },
      cors: { origins: ['https://console.example'] },
      webhooks: { acme: { url: 'https://acme.example/hook', secret: environment.HOOK } },
      network: { allowPrivate: ['10.0.0.0/8', 'localhost', '::1'] },
    });
  });

  test('is frozen all the way down', () => {
    const thaw = config as unknown as {
      settings: { chunks: { text: { linesMax: number } } };
      cors: { origins: string[] };
    };
    expect(() => {
      thaw.settings.chunks.text.linesMax = 1;
    }).toThrow(TypeError);
    expect(() => thaw.cors.origins.push('*')).toThrow(TypeError);
  });

  test('needs only the sites and a word on the witness', () => {
    const { sites } = source();
    expect(resolveConfig({ sites, witness: null }, environment)).toMatchObject({
      witness: null,
      settings: defaultSettings,
      models: {},
      webhooks: {},
    });
  });

  test('takes a model server from the environment for every alias that is not named, over the file', () => {
    const { models } = resolveConfig(having('models/*', { policy: 'equivalent', aws: { url: 'http://file/v1' } }), {
      ...environment,
      HOLDFAST_AWS_MODEL_URL: 'http://127.0.0.1:4120/v1/',
      HOLDFAST_AWS_MODEL_KEY: 'k',
    });
    expect(models['*']).toMatchObject({
      policy: 'any',
      aws: { ...unsaid, name: 'aws', url: 'http://127.0.0.1:4120/v1', model: null, apiKey: 'k' },
    });
    expect(models.small).toBeDefined();
  });
});

describe('a configuration that does not hold is refused with key, value and rule', () => {
  test.each<[string, unknown, string]>([
    ['sites', undefined, 'sites: is required'],
    ['sites/azure', undefined, 'sites: an object must name at least two sites'],
    ['sites/Azure', { cloud: 'azure' }, 'sites.Azure: a site id is 1 to 16 of a-z and 0-9'],
    ['sites/aws/cloud', 'gcp', "sites.aws.cloud: \"gcp\" must be 'aws' or 'azure'"],
    [
      'sites/aws/region',
      'US East',
      'sites.aws.region: "US East" must be a region as its cloud writes it, such as us-east-1',
    ],
    ['sites/aws/generation', 0, 'sites.aws.generation: 0 must be at least 1'],
    ['sites/aws/journal', 'X', 'sites.aws.journal: "X" must be 3 to 63 of a-z, 0-9, dot and hyphen'],
    ['sites/aws/queues/work', undefined, 'sites.aws.queues.work: is required'],
    [
      'sites/aws/queues/work',
      'holdfast-work',
      'sites.aws.queues.work: "holdfast-work" must be an http or https address without user, query or fragment',
    ],
    ['sites/aws/queues/wrok', 'x', "sites.aws.queues: unknown key 'wrok' (did you mean 'work'?)"],
    [
      'sites/azure/namespace',
      'https://x.servicebus.windows.net',
      'sites.azure.namespace: "https://x.servicebus.windows.net" must be a host name without scheme or port',
    ],
    ['witness', undefined, 'witness: is required'],
    [
      'witness/credentials/accessKeyIdEnv',
      'NOT_SET',
      'witness.credentials.accessKeyIdEnv: "NOT_SET" names a variable which is not set',
    ],
    // The value may be the secret itself, pasted where its variable's name belongs.
    [
      'witness/credentials/secretAccessKeyEnv',
      'wJalrXUtnFEMI/K7MDENG',
      'witness.credentials.secretAccessKeyEnv: must be the name of an environment variable',
    ],
    [
      'witness/contentKeyEnv',
      'HOOK',
      'witness.contentKeyEnv: "HOOK" must name a variable that holds 32 bytes in base64',
    ],
    [
      'witness/endpoint',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: replaced by the variable
      'https://${ACCOUNT}.r2.example',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: as written
      'witness.endpoint: "https://${ACCOUNT}.r2.example" names the variable ACCOUNT, which is not set',
    ],
    ['settings/intake', 'lenient', "settings.intake: \"lenient\" must be 'strict' or 'available'"],
    ['settings/leaseMs', '60s', 'settings.leaseMs: "60s" must be a whole number'],
    ['settings/leaseMs', 1.5, 'settings.leaseMs: 1.5 must be a whole number'],
    ['settings/tickMs', 90_000, 'settings.tickMs: 90000 must be at most 60000'],
    [
      'settings/leaseMs',
      240_000,
      'settings.leaseMs: 240000 must be less than runMs (240000), or a lease outlives every run',
    ],
    [
      'settings/peerTimeoutMs',
      60_000,
      'settings.peerTimeoutMs: 60000 must be less than leaseMs (60000), or waiting for the peer loses the lease',
    ],
    [
      'settings/dispatchLeaseMs',
      30_000,
      'settings.dispatchLeaseMs: 30000 must be at least leaseMs (60000), or work that is still leased counts as lost',
    ],
    [
      'settings/shortDepthMs',
      0,
      "settings.shortDepthMs: 0 must be at least tickMs (2000): one reading of the queue's depth proves nothing",
    ],
    [
      'settings/crashesBeforeSplit',
      100,
      'settings.crashesBeforeSplit: 100 must be less than deliveriesMax (50), or a chunk that kills its worker is never split',
    ],
    ['settings/deliveriesMax', 1000, 'settings.deliveriesMax: 1000 must be at most 999'],
    ['settings/chunks/text/bytesMax', 1024, 'settings.chunks.text.bytesMax: 1024 must be at least 4194304'],
    ['settings/chunks/text/linesmax', 5, "settings.chunks.text: unknown key 'linesmax' (did you mean 'linesMax'?)"],
    ['settings/leaseSeconds', 5, /^settings: unknown key 'leaseSeconds' \(there is: intake, .*leaseMs/ as never],
    [
      'models/small/aws/kind',
      'vertex',
      "models.small.aws.kind: \"vertex\" must be 'openai' or 'azure-openai' or 'bedrock-openai' or 'bedrock'",
    ],
    [
      'models/small/gcp',
      {},
      "models.small: unknown key 'gcp' (there is: policy, clouds, placement, weights, unplaced, aws, azure)",
    ],
    [
      'models/small/aws/region',
      'us-east-1',
      /^models.small.aws: unknown key 'region' \(there is: kind, name, model, / as never,
    ],
    ['models/small/aws', { kind: 'bedrock', model: 'amazon.nova-lite-v1:0' }, 'models.small.aws.region: is required'],
    [
      'models/small/policy',
      'same',
      "models.small.policy: \"same\" must be 'same_model' or 'same_family' or 'any' or 'equivalent'",
    ],
    ['models/small/clouds', ['gcp'], "models.small.clouds.0: \"gcp\" must be 'aws' or 'azure'"],
    ['models/small/clouds', ['aws', 'aws'], 'models.small.clouds: a list must not name a cloud twice'],
    [
      'models/small',
      { clouds: ['azure'], aws: { url: 'http://x/v1' } },
      'models.small.clouds: a list must name a cloud that has a backend here, or nothing serves the model',
    ],
    ['models/small/weights', { aws: 101 }, 'models.small.weights.aws: 101 must be at most 100'],
    [
      'models/small/weights',
      {},
      'models.small.weights: an object must be more than 0 for a cloud that serves the model',
    ],
    [
      'models/small/aws/limits',
      { tokensPerMinute: 0 },
      'models.small.aws.limits.tokensPerMinute: 0 must be at least 1',
    ],
    [
      'models/small/aws/limits',
      { tpm: 1 },
      /^models.small.aws.limits: unknown key 'tpm' \(there is: requestsPerMinute, tokensPerMinute, concurrencyMax/ as never,
    ],
    ['models/small/aws/price', { input: -1 }, 'models.small.aws.price.input: -1 must be at least 0'],
    ['models/small/aws/price', { input: '0.15' }, 'models.small.aws.price.input: "0.15" must be a number'],
    ['models/small/aws/price', { output: 1 }, 'models.small.aws.price.input: is required'],
    ['cors/origins', ['https://x.example/'], 'cors.origins.0: "https://x.example/" must be an origin or *'],
    ['webhooks/acme/secretEnv', undefined, 'webhooks.acme.secretEnv: is required'],
    [
      'webhooks/acme/secretEnv',
      'MODEL_KEY',
      'webhooks.acme.secretEnv: "MODEL_KEY" must name a variable that holds whsec_ and base64, as Standard Webhooks write it',
    ],
    ['webhooks/acme/url', 'ftp://x', /^webhooks.acme.url: "ftp:\/\/x" must be an http or https address/ as never],
    ['network/allowPrivate', ['10.0.0.0 /8'], /^network.allowPrivate.0: .* must be a host/ as never],
    ['sites/aws', null, /^sites.aws: null must be/ as never],
    ['setings', {}, "holdfast.config.yaml: unknown key 'setings' (did you mean 'settings'?)"],
  ])('%s = %j', (path, value, message) => {
    const config = having(path, value);
    if (path === 'settings/crashesBeforeSplit') config.settings.deliveriesMax = 50;
    const found = refusals(config);
    expect(found).toHaveLength(1);
    expect(found[0]).toEqual((message as unknown) instanceof RegExp ? expect.stringMatching(message) : message);
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'sites'],
    ['a list', []],
  ])('%s', (_, value) => {
    expect(refusals(value)).toEqual([expect.stringMatching(/^holdfast\.config\.yaml: /)]);
  });

  test.each<[Environment, string]>([
    [{ HOLDFAST_SITE: undefined }, 'HOLDFAST_SITE: must name the site of this process: aws or azure'],
    [{ HOLDFAST_SITE: 'azur' }, 'HOLDFAST_SITE: "azur" must be one of the configured sites (did you mean \'azure\'?)'],
    [
      { HOLDFAST_AWS_MODEL_URL: 'localhost:8000' },
      'HOLDFAST_AWS_MODEL_URL: "localhost:8000" must be an http or https address',
    ],
    [{ BLOB: '' }, 'sites.azure.credentials.storageConnectionEnv: "BLOB" names a variable which is not set'],
  ])('environment %j', (change, message) => {
    expect(refusals(source(), { ...environment, ...change })).toEqual([message]);
  });

  test('all errors are told at once', () => {
    const config = having('settings/leaseMs', -1);
    config.witness.endpoint = 'nowhere';
    config.sites.aws.queues.intake = 7;
    expect(refusals(config, { ...environment, HOLDFAST_SITE: 'gcp', HOOK: undefined })).toHaveLength(5);
  });

  test('a secret never appears in an error', () => {
    const config = having('webhooks/acme/url', 'nowhere');
    config.witness.credentials = { accessKeyIdEnv: 'WITNESS_ID', secretAccessKeyEnv: 'WITNESS_SECRET', extra: 1 };
    expect(refusals(config).join('\n')).not.toContain('witness-secret');
  });
});

describe('the model map', () => {
  const config = resolveConfig(having('models/*', { aws: { url: 'http://any/v1' } }), environment);
  const { sitesFor } = modelCatalog(config);

  test.each([
    ['small', ['aws', 'azure']],
    ['never-named', ['aws']],
    ['constructor', ['aws']],
  ])('%s is served by %j', (alias, sites) => {
    expect(sitesFor(alias, '/v1/embeddings')).toEqual(sites);
  });

  test('an alias that no entry covers is served by none', () => {
    const named = resolveConfig(source(), environment);
    expect(modelCatalog(named).sitesFor('toString', '/v1/embeddings')).toEqual([]);
    expect(backendFor(named, 'aws', 'toString')).toBeUndefined();
  });

  test('a backend is asked for the model by its own name for it, else by the alias', () => {
    expect(backendFor(config, 'aws', 'small')).toMatchObject({ name: 'aws', model: 'small-8b' });
    expect(backendFor(config, 'azure', 'small')).toMatchObject({ name: 'vllm', model: 'small' });
    expect(backendFor(config, 'aws', 'never-named')).toMatchObject({ url: 'http://any/v1', model: 'never-named' });
    expect(backendFor(config, 'azure', 'never-named')).toBeUndefined();
  });
});

describe('who may stand in for whom', () => {
  const sites = (entry: object, endpoint: Endpoint = '/v1/chat/completions') => {
    const config = having('models/m', entry);
    return modelCatalog(resolveConfig(config, environment)).sitesFor('m', endpoint);
  };
  const a = { url: 'http://a/v1' };
  const b = { url: 'http://b/v1' };

  test.each<[string, object, string[]]>([
    ['same_model, and nothing is said', { aws: a, azure: b }, ['aws', 'azure']],
    ['same_model of one name', { aws: { ...a, identity: 'x' }, azure: { ...b, identity: 'x' } }, ['aws', 'azure']],
    ['same_model of two names', { aws: { ...a, identity: 'x' }, azure: { ...b, identity: 'y' } }, ['aws']],
    ['same_model, one alone is named', { aws: { ...a, identity: 'x' }, azure: b }, ['aws']],
    [
      'same_model of one family',
      { aws: { ...a, identity: 'x', family: 'f' }, azure: { ...b, identity: 'y', family: 'f' } },
      ['aws'],
    ],
    [
      'same_family of one family',
      { policy: 'same_family', aws: { ...a, identity: 'x', family: 'f' }, azure: { ...b, identity: 'y', family: 'f' } },
      ['aws', 'azure'],
    ],
    [
      'same_family of one model in two families',
      { policy: 'same_family', aws: { ...a, identity: 'x', family: 'f' }, azure: { ...b, identity: 'x', family: 'g' } },
      ['aws', 'azure'],
    ],
    [
      'same_family of two',
      { policy: 'same_family', aws: { ...a, family: 'f' }, azure: { ...b, family: 'g' } },
      ['aws'],
    ],
    ['any', { policy: 'any', aws: { ...a, identity: 'x' }, azure: { ...b, identity: 'y' } }, ['aws', 'azure']],
    [
      'two models, and azure goes first',
      { clouds: ['azure', 'aws'], aws: { ...a, identity: 'x' }, azure: { ...b, identity: 'y' } },
      ['azure'],
    ],
    ['residency', { clouds: ['azure'], aws: a, azure: b }, ['azure']],
  ])('%s', (_, entry, expected) => {
    expect(sites(entry)).toEqual(expected);
  });

  test.each<[Endpoint, string[]]>([
    ['/v1/chat/completions', ['aws', 'azure']],
    ['/v1/embeddings', ['aws']],
    ['/v1/responses', ['azure']],
  ])('a kind of backend that does not have %s does not count for it', (endpoint, expected) => {
    const region = 'us-east-1';
    const entry = { aws: { kind: 'bedrock', region }, azure: { kind: 'bedrock-openai', region } };
    expect(sites(entry, endpoint)).toEqual(expected);
  });

  test('a cloud that may not serve an alias has no backend for it', () => {
    const config = resolveConfig(having('models/m', { clouds: ['azure'], aws: a, azure: b }), environment);
    expect(backendFor(config, 'aws', 'm')).toBeUndefined();
    expect(backendFor(config, 'azure', 'm')).toMatchObject({ url: 'http://b/v1' });
  });
});

describe('what the map says of an alias', () => {
  const shown = (backend: object) => {
    const { entryOf } = modelCatalog(resolveConfig(having('models/m', { aws: backend }), environment));
    return entryOf!('m')!.backends[0]!;
  };
  const region = 'eu-west-1';

  test.each<[string, object, string]>([
    ['an OpenAI server', { url: 'http://a/v1' }, 'http://a/v1'],
    ['Azure', { kind: 'azure-openai', url: 'https://r.openai.azure.com/' }, 'https://r.openai.azure.com/openai/v1'],
    [
      'Bedrock, OpenAI protocol',
      { kind: 'bedrock-openai', region },
      'https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1',
    ],
    ['Bedrock', { kind: 'bedrock', region }, 'https://bedrock-runtime.eu-west-1.amazonaws.com'],
  ])('the address of %s', (_, backend, address) => {
    expect(shown(backend).address).toBe(address);
  });

  test.each<[string, number | undefined]>([
    ['amazon.titan-embed-text-v2:0', 1],
    ['eu.cohere.embed-v4:0', 96],
    ['amazon.nova-lite-v1:0', undefined],
  ])('inputs of a call that %s takes are known without being said', (model, inputsMax) => {
    expect(shown({ kind: 'bedrock', region, model }).limits.inputsMax).toBe(inputsMax);
    expect(shown({ kind: 'bedrock', region, model, limits: { inputsMax: 7 } }).limits.inputsMax).toBe(7);
  });

  test('cached input costs what input costs, unless the map says otherwise', () => {
    expect(shown({ url: 'http://a/v1', price: { input: 2, output: 8 } }).price).toEqual({
      input: 2,
      output: 8,
      cachedInput: 2,
    });
    expect(shown({ url: 'http://a/v1' }).price).toBeNull();
  });

  test('no secret is shown', () => {
    const keyed = shown({ url: 'http://a/v1', apiKeyEnv: 'MODEL_KEY' });
    expect(JSON.stringify(keyed)).not.toContain(environment.MODEL_KEY);
  });
});

test('keys that mean something to JavaScript are refused, not obeyed', () => {
  const hostile = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {}}, "toString": 1}');
  const config = Object.assign(Object.create(null), source());
  for (const key of Object.keys(hostile)) Object.defineProperty(config, key, { value: hostile[key], enumerable: true });
  expect(refusals(config)).toHaveLength(3);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});
