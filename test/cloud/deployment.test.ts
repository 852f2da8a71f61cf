import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { duplicateDetectionMs } from '../../functions-azure/adapters/messages.ts';
import { version } from '../../runtime/version.ts';
import { resolveConfig } from '../../shared/config/index.ts';
import { serviceBusQueues } from '../../shared/config/queues.ts';
import { brokerDeliveriesMax } from '../../shared/config/settings.ts';
import { functionsBodyBytesMax } from '../../shared/limits.ts';
import { defaultSettings } from '../../shared/settings.ts';

const root = resolve(import.meta.dirname, '..', '..');
const read = (path: string) => readFileSync(resolve(root, path), 'utf8');

const config = read('holdfast.config.yaml');
const bicep = read('infra/azure/main.bicep');
const host = JSON.parse(read('host.json'));
// CloudFormation's own tags mean nothing here.
const serverless = parse(read('serverless.yml'), { logLevel: 'silent' });

/** Every variable that the deployed configuration names. */
const named = [...config.replaceAll(/#.*$/gm, '').matchAll(/\$\{(\w+)\}|Env: (\w+)/g)].map(
  (match) => (match[1] ?? match[2])!,
);
const bicepSettings = [...bicep.matchAll(/^ {2}(\w+): /gm)].map((match) => match[1]!);

describe('the deployed configuration', () => {
  test.each([
    ['serverless.yml', Object.keys(serverless.provider.environment)],
    ['main.bicep', bicepSettings],
  ])('finds every variable it names in %s', (_, given) => {
    expect(named.length).toBeGreaterThan(5);
    expect(given).toEqual(expect.arrayContaining(['HOLDFAST_SITE', ...named]));
  });

  test('holds once its variables are set', () => {
    const env = Object.fromEntries(named.map((name) => [name, 'x1']));
    const resolved = resolveConfig(parse(config), {
      ...env,
      HOLDFAST_SITE: 'azure',
      HOLDFAST_AWS_ACCOUNT: '123456789012',
      HOLDFAST_WITNESS_ENDPOINT: 'https://witness.example',
      HOLDFAST_WITNESS_CONTENT_KEY: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
    });
    expect(resolved.sites.aws).toMatchObject({
      journal: 'holdfast-journal-123456789012',
      queues: { work: 'https://sqs.x1.amazonaws.com/123456789012/holdfast-work' },
    });
  });
});

describe('the Azure site', () => {
  const ms = (time: string) => time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) * 1000;

  test('lets a run of the longest kind end, and keeps its lock as long', () => {
    const { functionTimeout, extensions } = host;
    expect(ms(functionTimeout)).toBeGreaterThan(defaultSettings.runMs);
    expect(ms(extensions.serviceBus.maxAutoLockRenewalDuration)).toBeGreaterThanOrEqual(ms(functionTimeout));
    // What is fetched ahead waits with its lock running.
    expect(extensions.serviceBus.prefetchCount).toBe(0);
  });

  test('serves the same paths as AWS, and takes a file of 200 MB', () => {
    expect(host.extensions.http.routePrefix).toBe('');
    expect(bicep).toContain(`FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '${functionsBodyBytesMax}'`);
  });

  test('has the queues that the triggers name, and leaves attempts to the journal', () => {
    for (const queue of Object.values(serviceBusQueues)) expect(bicep).toContain(`'${queue}'`);
    expect(bicep).toContain(`maxDeliveryCount: ${brokerDeliveriesMax}`);
    // Or there would be as many copies of a message as times that it could not be completed.
    expect(bicep).toContain('requiresDuplicateDetection: true');
    expect(bicep).toContain(`duplicateDetectionHistoryTimeWindow: 'PT${duplicateDetectionMs / 3_600_000}H'`);
    for (const queue of ['Intake', 'Work'])
      expect(serverless.resources.Resources[queue].Properties.RedrivePolicy.maxReceiveCount).toBe(brokerDeliveriesMax);
  });
});

test('the version in the code is that of package.json', () => {
  expect(version).toBe(JSON.parse(read('package.json')).version);
});
