import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Folder, holdfast } from './support.ts';

const examples = resolve(import.meta.dirname, '..', '..', '..', 'examples', 'drills');

describe('drill validate', () => {
  test('takes every example', async () => {
    const files = readdirSync(examples).map((name) => join(examples, name));
    expect(files.length).toBeGreaterThanOrEqual(8);
    const { exitCode, json } = await holdfast(['drill', 'validate', ...files, '--json']);
    expect({ exitCode, problems: json.files.flatMap((one: { problems: unknown[] }) => one.problems) }).toEqual({
      exitCode: 0,
      problems: [],
    });
  });

  test('a fault that the local clouds do not know is told with its line, and the exit code is 2', async () => {
    const folder = new Folder();
    const file = folder.file(
      'bad.yaml',
      `title: t
steady-state-hypothesis: {title: t, probes: [{type: probe, name: p, provider: {type: holdfast, func: witness}}]}
method:
  - type: action
    name: kill
    provider:
      type: holdfast
      func: fault
      arguments: {target: aws, kind: kill, ttl: 10s}
holdfast: {kind: outage, site: aws, blast-radius: {scope: all}}
`,
    );
    const { exitCode, stdout } = await holdfast(['drill', 'validate', file]);
    expect(exitCode).toBe(2);
    expect(stdout).toContain('bad.yaml:9: method.0.provider.arguments: kind: kill has no end of its own');
    folder.remove();
  });
});

test('drill run, where no local clouds were ever started, says so and what to do', async () => {
  const folder = new Folder();
  const { exitCode, stderr } = await holdfast(['drill', 'run', join(examples, 'shadow.yaml'), '--data', folder.path]);
  expect(exitCode).toBe(3);
  expect(stderr).toContain('there are no local clouds in');
  folder.remove();
});
