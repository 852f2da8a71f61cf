import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { jsonSchemas, schemaFolder } from '../../../scripts/config-schema.ts';

const schemas = jsonSchemas();

test.each(Object.keys(schemas))('the published %s is the one of this code (npm run schema writes it)', async (name) => {
  expect(await readFile(join(schemaFolder, name), 'utf8')).toBe(schemas[name]);
});

test('an editor that follows it sees every kind of backend, and keys that do not exist', () => {
  const { models } = JSON.parse(schemas['holdfast.config.schema.json']!).properties;
  const { additionalProperties, properties } = models.additionalProperties;
  expect(additionalProperties).toBe(false);
  expect(
    properties.aws.oneOf.map((kind: { properties: { kind: { const: string } } }) => kind.properties.kind.const),
  ).toEqual(['openai', 'azure-openai', 'bedrock-openai', 'bedrock']);
});
