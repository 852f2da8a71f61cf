import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { configJsonSchema, schemaFile } from '../../../scripts/config-schema.ts';

test('the published JSON Schema is the one of this code (npm run schema writes it)', async () => {
  expect(await readFile(schemaFile, 'utf8')).toBe(configJsonSchema());
});

test('an editor that follows it sees every kind of backend, and keys that do not exist', () => {
  const { models } = JSON.parse(configJsonSchema()).properties;
  const { additionalProperties, properties } = models.additionalProperties;
  expect(additionalProperties).toBe(false);
  expect(
    properties.aws.oneOf.map((kind: { properties: { kind: { const: string } } }) => kind.properties.kind.const),
  ).toEqual(['openai', 'azure-openai', 'bedrock-openai', 'bedrock']);
});
