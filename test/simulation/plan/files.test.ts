import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { defaultLimits, parseLimits, parseTrace } from '../../../local/simulator/plan/index.ts';
import { batchesOf } from '../../../local/simulator/plan/work.ts';
import { parseScenarios } from '../../../local/simulator/scenario/index.ts';
import { limitsWith, trace, traceText } from './support.ts';

const root = resolve(import.meta.dirname, '..', '..', '..');
const refusal = (parse: () => unknown): string => {
  try {
    parse();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was taken');
};

describe('a trace', () => {
  test("of Azure's form is taken: seven digits of a second, columns in any order, rows in any order", () => {
    const taken = parseTrace(
      '\uFEFFGeneratedTokens,TIMESTAMP,Extra,ContextTokens\n5,2023-11-16 18:15:46.6805900,x,374\n7,2023-11-16T18:15:45Z,y,1\n',
      't.csv',
    );
    const at = Date.UTC(2023, 10, 16, 18, 15, 45);
    expect([...taken.at]).toEqual([at, at + 1_680.59]);
    expect([...taken.contextTokens]).toEqual([1, 374]);
    expect([...taken.generatedTokens]).toEqual([7, 5]);
  });

  test('of the shared example, where it is there, has 19,366 requests', () => {
    const path = resolve(root, '..', 'shared', 'data', 'azure-llm-trace-2023-conv.csv');
    if (!existsSync(path)) return;
    expect(parseTrace(readFileSync(path, 'utf8'), path).at).toHaveLength(19_366);
  });

  const head = 'TIMESTAMP,ContextTokens,GeneratedTokens';
  test.each<[string, string, string]>([
    ['no header', '2023-11-16 18:15:46,1,1', 't.csv:1: TIMESTAMP: "2023-11-16 18:15:46,1,1": is missing'],
    ['no rows', head, 't.csv:1: holds no request'],
    ['a time that is none', `${head}\n\nyesterday,1,1`, 't.csv:3: TIMESTAMP: "yesterday": must be a time in UTC'],
    ['a day that is none', `${head}\n2023-06-31 00:00:00,1,1`, 't.csv:2: TIMESTAMP: "2023-06-31 00:00:00": must be'],
    ['no tokens', `${head}\n2023-11-16 18:15:46,,1`, 't.csv:2: ContextTokens: "": must be a whole number from 1'],
    ['a negative number', `${head}\n2023-11-16 18:15:46,1,-1`, 't.csv:2: GeneratedTokens: "-1": must be'],
    ['a number beyond reason', `${head}\n2023-11-16 18:15:46,1e9,1`, 't.csv:2: ContextTokens: "1e9": must be'],
    ['a missing cell', `${head}\n2023-11-16 18:15:46,1`, 't.csv:2: GeneratedTokens: "": must be'],
  ])('with %s is refused', (_what, source, words) => {
    expect(refusal(() => parseTrace(source, 't.csv'))).toContain(words);
  });

  test('is cut into batches by size and by age, and these into chunks by the limits of the planner', () => {
    const batches = batchesOf(trace, limitsWith('chunk: {linesMax: 20}'));
    expect(batches.reduce((sum, { lines }) => sum + lines, 0)).toBe(trace.at.length);
    for (const { lines, chunks, sentAt, firstLine } of batches) {
      expect(lines).toBeLessThanOrEqual(60);
      expect(chunks.every((chunk) => chunk.lines <= 20)).toBe(true);
      expect(chunks.reduce((sum, chunk) => sum + chunk.lines, 0)).toBe(lines);
      expect(sentAt).toBeGreaterThanOrEqual(trace.at[firstLine + lines - 1]!);
    }
    const rare = parseTrace(traceText(1, 30), 't.csv');
    expect(batchesOf(rare, limitsWith('')).every(({ lines }) => lines <= 6)).toBe(true);
  });
});

describe('limits', () => {
  test('have a default each, and an empty file is all of them', () => {
    expect(parseLimits('', 'l.yaml')).toEqual(defaultLimits());
    expect(defaultLimits()).toMatchObject({
      health: 'balanced',
      batch: { lines: 500, every: 300_000, window: 86_400_000 },
      settings: { tickMs: 10_000, failover: 'automatic' },
    });
    expect(parseLimits('health: fast', 'l.yaml').settings.tickMs).toBe(2_000);
  });

  test.each<[string, string]>([
    ['clouds: {aws: {tokensPerMinute: 0}}', 'l.yaml:1: clouds.aws.tokensPerMinute: 0: must be at least 1'],
    [
      'clouds:\n  aws:\n    tokensPerMinut: 5',
      "l.yaml:3: clouds.aws.tokensPerMinut: 5: unknown key 'tokensPerMinut' (did you mean",
    ],
    ['clouds:\n  gcp: {}', "l.yaml:2: clouds.gcp: a map: unknown key 'gcp' (there is: aws, azure)"],
    ['home: {aws: 0, azure: 0}', 'l.yaml:1: home: a map: one of the weights must be above 0'],
    ['batch:\n  window: 24', 'l.yaml:2: batch.window: 24: must be text'],
    ['batch:\n  window: "10s"', 'l.yaml:2: batch.window: "10s": must be at least 1m'],
    ['batch: {every: soon}', 'l.yaml:1: batch.every: "soon": must be a number with a unit'],
    ['health: brave', 'l.yaml:1: health: "brave": must be fast or balanced or careful'],
    ['outageAt: "0:99"', `l.yaml:1: outageAt: "0:99": must be 'h:mm'`],
    [
      'clouds: {aws: {price: {inputPerMillion: -1}}}',
      'l.yaml:1: clouds.aws.price.inputPerMillion: -1: must be at least 0',
    ],
    ['clouds: {aws: {outputTokensPerSecond: 0}}', 'l.yaml:1: clouds.aws.outputTokensPerSecond: 0: must be above 0'],
    ['- a', 'l.yaml:1: a list: must be a map'],
    ['a: [', 'is not YAML'],
  ])('%j is refused with file, line, key, value and rule', (source, words) => {
    expect(refusal(() => parseLimits(source, 'l.yaml'))).toContain(words);
  });
});

test('the outage files and limits among the examples are taken, every component known', () => {
  const folder = resolve(root, 'examples', 'outages');
  for (const name of ['aws-dark', 'trigger-detached', 'model-throttled']) {
    const { scenarios, notices } = parseScenarios(readFileSync(resolve(folder, `${name}.yaml`), 'utf8'), name);
    expect(scenarios).toHaveLength(1);
    expect(notices).toEqual([]);
  }
  parseLimits(readFileSync(resolve(folder, 'limits.yaml'), 'utf8'), 'limits.yaml');
});
