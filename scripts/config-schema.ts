import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { configSchema } from '../shared/config/schema.ts';
import { drillSchema } from '../shared/drill/file.ts';
import { drillReportSchema } from '../shared/drill/report.ts';

/** Where the published schemas lie. */
export const schemaFolder = join(resolve(import.meta.dirname, '..'), 'docs', 'schema');

/**
 * JSON Schemas by file name, for editors and programs. Those of what people write say less than the program checks: what a
 * value must look like once variables stand in their places, and what must hold between values, only the program knows.
 */
export function jsonSchemas(): Record<string, string> {
  const written = (title: string, schema: z.ZodType, io: 'input' | 'output') => {
    const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
    return `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`;
  };
  return {
    'holdfast.config.schema.json': written('holdfast.config.yaml', configSchema({}), 'input'),
    'holdfast.drill.schema.json': written('Holdfast drill file', drillSchema, 'input'),
    'holdfast.drill-report.schema.json': written('Holdfast drill report', drillReportSchema, 'output'),
  };
}

if (import.meta.main) {
  await mkdir(schemaFolder, { recursive: true });
  for (const [name, schema] of Object.entries(jsonSchemas())) await writeFile(join(schemaFolder, name), schema);
}
