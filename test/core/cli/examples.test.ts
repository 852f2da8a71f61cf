import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { Folder } from './support.ts';

const examples = resolve(import.meta.dirname, '..', '..', '..', 'examples');
const names = ['chat.jsonl', 'embeddings.jsonl'];

test('the committed examples are what the generator writes', () => {
  const folder = new Folder();
  spawnSync(process.execPath, [join(examples, 'generate.ts'), folder.path]);
  for (const name of names) expect(readFileSync(join(folder.path, name))).toEqual(readFileSync(join(examples, name)));
  folder.remove();
});

test('they are 1,000 requests with ids of their own, in less than 400 KB', () => {
  const content = names.map((name) => readFileSync(join(examples, name), 'utf8')).join('');
  const ids = content
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).custom_id as string);
  expect(ids).toHaveLength(1_000);
  expect(new Set(ids).size).toBe(1_000);
  expect(Buffer.byteLength(content)).toBeLessThan(400_000);
});
