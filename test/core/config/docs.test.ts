import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { resolveConfig } from '../../../shared/config/index.ts';
import { environment, source } from './support.ts';

const page = readFileSync(join(resolve(import.meta.dirname, '..', '..', '..'), 'docs/models.md'), 'utf8');
const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml]) => parse(yaml!));
const secrets = { VLLM_KEY: 'k', AZURE_OPENAI_KEY: 'k', BEDROCK_KEY_ID: 'k', BEDROCK_KEY: 'k' };

test('what docs/models.md shows is taken as it stands', () => {
  const maps = examples.flatMap(({ models }) => (models === undefined ? [] : [models]));
  expect(maps).toHaveLength(2);
  for (const models of maps) {
    const config = resolveConfig({ ...source(), models }, { ...environment, ...secrets });
    expect(Object.keys(config.models)).toEqual(Object.keys(models));
  }
  const [limits] = examples.flatMap(({ limits }) => (limits === undefined ? [] : [limits]));
  const m = { aws: { url: 'http://a/v1', limits, price: { input: 0.15, output: 0.6, cachedInput: 0.075 } } };
  expect(resolveConfig({ ...source(), models: { m } }, environment).models.m?.aws?.limits).toEqual(limits);
});
