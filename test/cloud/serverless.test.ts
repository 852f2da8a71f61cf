import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defaultSettings } from '../../shared/settings.ts';
import { countUnread } from '../../shared/worker/unread.ts';
import { World } from '../support/world.ts';

const root = resolve(import.meta.dirname, '..', '..');
const run = promisify(execFile);

interface Right {
  Action: string | string[];
  Resource: unknown;
}

interface Resource {
  Type: string;
  // biome-ignore lint/suspicious/noExplicitAny: CloudFormation
  Properties: any;
}

describe('serverless package, with no account and no network', () => {
  let folder: string;
  let template: Record<string, Resource>;
  let packaged: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-serverless-'));
    await Promise.all(['serverless.yml', 'package.json'].map((name) => cp(join(root, name), join(folder, name))));
    for (const path of ['worker.mjs', 'api.mjs', 'monitor.mjs', 'drills.mjs', 'chunk-1.mjs', 'worker.mjs.map']) {
      await cp(join(root, 'package.json'), join(folder, 'dist/functions-aws', path));
    }
    await cp(join(root, 'package.json'), join(folder, 'dist/functions-azure/main.cjs'));
    await writeFile(join(folder, 'secret.env'), 'not to be packaged');
    // A proxy that refuses: whatever tries to reach a network fails.
    const nowhere = 'http://127.0.0.1:1';
    await run(process.execPath, [join(root, 'node_modules/serverless/bin/serverless.js'), 'package'], {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        HTTP_PROXY: nowhere,
        HTTPS_PROXY: nowhere,
        SLS_TELEMETRY_DISABLED: '1',
      },
    });
    const text = await readFile(join(folder, '.serverless/cloudformation-template-update-stack.json'), 'utf8');
    template = JSON.parse(text).Resources;
    packaged = namesInZip(await readFile(join(folder, '.serverless/holdfast.zip')));
  }, 120_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const ofType = (type: string) => Object.values(template).filter((resource) => resource.Type === type);
  const named = (name: string) => template[name]!.Properties;

  test('the package holds the bundles of AWS and nothing else', () => {
    expect(packaged.sort()).toEqual(
      ['api.mjs', 'chunk-1.mjs', 'drills.mjs', 'monitor.mjs', 'worker.mjs'].map((name) => `dist/functions-aws/${name}`),
    );
  });

  test('there are five functions, on Node 24 and arm64', () => {
    const functions = ofType('AWS::Lambda::Function').map(({ Properties }) => Properties);
    expect(functions.map(({ FunctionName }) => FunctionName).sort()).toEqual(
      ['api', 'drills', 'monitor', 'worker-intake', 'worker-work'].map((name) => `holdfast-live-${name}`),
    );
    for (const one of functions) expect(one).toMatchObject({ Runtime: 'nodejs24.x', Architectures: ['arm64'] });
  });

  test('EventBridge Scheduler looks for drills each minute, and may call that function alone', () => {
    const [schedule, ...others] = ofType('AWS::Scheduler::Schedule').map(({ Properties }) => Properties);
    expect(others).toEqual([]);
    expect(schedule).toMatchObject({ ScheduleExpression: 'rate(1 minute)', State: 'ENABLED' });
    expect(JSON.stringify(schedule.Target.Arn)).toContain('DrillsLambdaFunction');
  });

  test('each queue hides a message as long as a worker may run, and tells of each failure alone', () => {
    const worker = named('WorkerDashworkLambdaFunction');
    expect(worker.Timeout * 1000).toBe(defaultSettings.runMs);
    for (const queue of ['Intake', 'Work']) {
      expect(named(queue)).toMatchObject({
        VisibilityTimeout: worker.Timeout,
        RedrivePolicy: { maxReceiveCount: 1000 },
      });
    }
    const mappings = ofType('AWS::Lambda::EventSourceMapping').map(({ Properties }) => Properties);
    expect(mappings).toHaveLength(2);
    for (const mapping of mappings) {
      expect(mapping.FunctionResponseTypes).toEqual(['ReportBatchItemFailures']);
    }
  });

  test('F13: no trigger has a filter, which would delete what it does not match', () => {
    for (const { Properties } of ofType('AWS::Lambda::EventSourceMapping'))
      expect(Properties).not.toHaveProperty('FilterCriteria');
  });

  test('the journal is versioned, the state is not, and no rule expires a current version', () => {
    expect(named('Journal').VersioningConfiguration).toEqual({ Status: 'Enabled' });
    expect(named('State').VersioningConfiguration).toBeUndefined();
    for (const name of ['Journal', 'State']) {
      for (const rule of named(name).LifecycleConfiguration.Rules) {
        expect(Object.keys(rule).sort()).toEqual([
          expect.stringMatching(/^(AbortIncompleteMultipartUpload|Id)$/),
          expect.stringMatching(/^(Id|NoncurrentVersionExpiration)$/),
          'Status',
        ]);
      }
      expect(template[name]).toMatchObject({ DeletionPolicy: 'Retain' });
      expect(named(name).BucketEncryption).toBeDefined();
    }
  });

  test('no right names every action or every resource, and none deletes control entries, keys or registers', () => {
    const statements = ofType('AWS::IAM::Role').flatMap(({ Properties }) =>
      Properties.Policies.flatMap(
        (policy: { PolicyDocument: { Statement: { Action: string | string[]; Resource: unknown }[] } }) =>
          policy.PolicyDocument.Statement,
      ),
    );
    expect(statements.length).toBeGreaterThan(3);
    for (const { Action, Resource } of statements) {
      for (const action of [Action].flat()) expect(action).not.toContain('*');
      // Listing event-source mappings is a right on no resource, and changes nothing.
      if (String(Action) !== 'lambda:ListEventSourceMappings') expect([Resource].flat()).not.toContain('*');
      if ([Action].flat().some((action: string) => action.startsWith('s3:Delete')))
        expect(JSON.stringify(Resource)).not.toMatch(/Arn\}\/(\*|control|keys|registers)/);
    }
  });

  test('whatever workers and sweepers delete they may delete', async () => {
    const rights = ofType('AWS::IAM::Role').flatMap(({ Properties }) =>
      Properties.Policies.flatMap(({ PolicyDocument }: { PolicyDocument: { Statement: Right[] } }) =>
        PolicyDocument.Statement.filter(({ Action }) => [Action].flat().includes('s3:DeleteObject')),
      ),
    );
    const prefixes = rights.flatMap(
      ({ Resource }: Right) => JSON.stringify(Resource).match(/(?<=Arn\}\/)[a-z]+\/(?=\*)/g) ?? [],
    );
    const world = new World();
    const deleted = new Set<string>();
    world.aws.faults.before = async (op, key) => {
      if (op === 'delete') deleted.add(key);
    };
    const later = JSON.stringify({ v: 2, kind: 'chunk' });
    await world.aws.work.send([{ id: 'later', body: later }]);
    await world.accept();
    await world.run(60_000);
    await world.clock.advance(3 * 3_600_000);
    await countUnread(world.core('aws'), 'work');
    const firsts = new Set([...deleted].map((key) => key.split('/')[0]));
    expect([...firsts].sort()).toEqual(['notified', 'open', 'planning', 'unread']);
    expect([...deleted].filter((key) => !prefixes.some((prefix) => key.startsWith(prefix)))).toEqual([]);
  });
});

/** Names in a zip's central directory. */
function namesInZip(zip: Buffer): string[] {
  const names: string[] = [];
  const signature = Buffer.from('PK\u0001\u0002');
  for (let at = zip.indexOf(signature); at >= 0; at = zip.indexOf(signature, at + 4))
    names.push(zip.toString('utf8', at + 46, at + 46 + zip.readUInt16LE(at + 28)));
  return names;
}
