import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import * as z from 'zod';
import { configSchema } from '../shared/config/schema.ts';

/** Where the published schema lies. */
export const schemaFile = join(resolve(import.meta.dirname, '..'), 'docs', 'schema', 'holdfast.config.schema.json');

/**
 * The JSON Schema of `holdfast.config.yaml`, for editors. It says less than the program checks: what a value must look like
 * once variables stand in their places, and what must hold between values, only the program knows.
 */
export function configJsonSchema(): string {
  const { $schema, ...schema } = z.toJSONSchema(configSchema({}), { io: 'input' });
  const title = 'holdfast.config.yaml';
  return `${JSON.stringify({ $schema, title, ...schema }, null, 2)}\n`;
}

if (import.meta.main) {
  await mkdir(dirname(schemaFile), { recursive: true });
  await writeFile(schemaFile, configJsonSchema());
}
