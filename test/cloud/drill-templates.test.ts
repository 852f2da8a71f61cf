import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';

const read = (path: string) => readFileSync(resolve(import.meta.dirname, '..', '..', path), 'utf8');
/** CloudFormation's own tags mean nothing here: what they hold is kept as text. */
const cloudFormation = (path: string) => parse(read(path), { logLevel: 'silent' });

/**
 * What each action takes, and what it needs.
 *
 * @source https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html (2026-11)
 */
const lambdaPermissions = ['s3:PutObject', 's3:DeleteObject', 'lambda:GetFunction', 'tag:GetResources'];
const actions: Record<string, readonly string[]> = {
  'aws:lambda:invocation-error': ['duration', 'invocationPercentage', 'preventExecution'],
  'aws:lambda:invocation-add-delay': ['duration', 'invocationPercentage', 'startupDelayMilliseconds'],
};

describe('infra/drills/aws-fis.yaml', () => {
  const { Resources } = cloudFormation('infra/drills/aws-fis.yaml');
  const serverless = cloudFormation('serverless.yml');
  const templates = Object.entries<{ Type: string; Properties: Record<string, never> }>(Resources).flatMap(
    ([name, { Type, Properties }]) => (Type === 'AWS::FIS::ExperimentTemplate' ? [[name, Properties] as const] : []),
  );

  test.each(templates)('%s holds what CloudFormation and FIS demand, and nothing they do not know', (_, properties) => {
    const { Description, RoleArn, StopConditions, Targets, Tags, Actions, ...more } = properties as Record<
      string,
      Record<string, Record<string, Record<string, string>>>
    >;
    for (const required of [Description, RoleArn, StopConditions, Targets, Tags, Actions])
      expect(required).toBeDefined();
    expect(more).toEqual({});
    expect(StopConditions).toEqual([{ Source: 'aws:cloudwatch:alarm', Value: 'StopAlarmArn' }]);
    for (const { ActionId, Parameters, Targets: used } of Object.values(Actions!)) {
      const known = actions[ActionId as unknown as string];
      expect(known).toBeDefined();
      expect(Object.keys(Parameters!).sort()).toEqual([...known!].sort());
      for (const value of Object.values(Parameters!)) expect(typeof value).toBe('string');
      expect(Object.keys(used!)).toEqual(['Functions']);
      for (const target of Object.values(used!))
        expect(Targets![target]).toMatchObject({ ResourceType: 'aws:lambda:function' });
    }
  });

  test('the functions that fail are those that are deployed', () => {
    const named = [...read('infra/drills/aws-fis.yaml').matchAll(/function:\$\{ServiceName\}-\$\{Stage\}-([a-z-]+)"/g)];
    expect(named.length).toBeGreaterThanOrEqual(4);
    for (const [, name] of named) expect(Object.keys(serverless.functions)).toContain(name);
    expect(cloudFormation('infra/drills/aws-fis.yaml').Parameters.ServiceName.Default).toBe(serverless.service);
    // The layer of the extension is that of the functions' architecture.
    expect(read('infra/drills/aws-fis.yaml')).toContain(`AWS-FIS-extension-${serverless.provider.architecture}`);
  });

  test('the role may do what the actions need', () => {
    const [{ PolicyDocument }] = Resources.Role.Properties.Policies;
    const allowed = PolicyDocument.Statement.flatMap(({ Action }: { Action: string[] }) => Action);
    expect(allowed.sort()).toEqual([...lambdaPermissions].sort());
  });
});

/** @source https://learn.microsoft.com/azure/chaos-studio/chaos-studio-fault-library (App Service Stop, 2026-11) */
describe('infra/drills/azure-chaos.bicep', () => {
  const bicep = read('infra/drills/azure-chaos.bicep');

  test.each([
    ['target type', "name: 'Microsoft-AppService'"],
    ['capability', "name: 'Stop-1.0'"],
    ['urn', "name: 'urn:csci:microsoft:appService:stop/1.0'"],
    ['kind of action', "type: 'continuous'"],
    ['parameters', 'parameters: []'],
    ['role (Website Contributor)', "'de139f84-1756-47ae-9be6-808fbbe84772'"],
  ])('%s as the fault library has it', (_, text) => {
    expect(bicep).toContain(text);
  });

  test('what is stopped is what main.bicep deploys', () => {
    const deployed = /'Microsoft\.Web\/sites@[\d-]+' = \{\s*name: '([^']+)'/.exec(read('infra/azure/main.bicep'))![1]!;
    expect(bicep).toContain(`name: '${deployed}'`);
  });
});
