import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { countTokens as cl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { countTokens as o200k } from 'gpt-tokenizer/encoding/o200k_base';
import { countRequest, countUnits, noUnits, type TokenUnits } from '../../../shared/batching/token-units.ts';
import { TokenEstimator } from '../../../shared/batching/tokens.ts';
import type { JsonObject } from '../../../shared/journal/json.ts';
import { passages } from './passages.ts';

const data = ['../shared/data', '../../shared/data'].find((folder) => existsSync(folder));

function unitsOf(text: string): TokenUnits {
  const units = noUnits();
  countUnits(text, units);
  return units;
}

interface Sample {
  units: TokenUnits;
  tokens: number;
}

/** Mean relative error of single lines, and of calls of 50: what limits and budgets are held against. */
function errors(samples: readonly Sample[], estimator: TokenEstimator, perCall = 50) {
  const estimates = samples.map(({ units }) => estimator.estimate(units));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const calls: number[] = [];
  for (let from = 0; from + perCall <= samples.length; from += perCall) {
    const total = (values: readonly number[]) => values.slice(from, from + perCall).reduce((a, b) => a + b, 0);
    calls.push(Math.abs(total(estimates) / total(samples.map(({ tokens }) => tokens)) - 1));
  }
  return {
    line: mean(samples.map(({ tokens }, i) => Math.abs(estimates[i]! / tokens - 1))),
    call: Math.max(0, ...calls),
  };
}

/** Frames as OpenAI counts them: 3 for each message and 3 for the answer, and the role's token. */
const chatTokens = (body: JsonObject, count: (text: string) => number) =>
  (body.messages as { content: string }[]).reduce((sum, { content }) => sum + count(content) + 4, 3);

(data === undefined ? describe.skip : describe)('GSM8K (../shared/data)', () => {
  const bodies = (name: string): JsonObject[] =>
    readFileSync(`${data}/${name}.jsonl`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { body: JsonObject }).body);

  test.each([
    ['o200k', o200k],
    ['cl100k', cl100k],
  ])('chat lines under %s: every call is within 10 %% before anything is learned, within 3 %% after', (_, count) => {
    const samples = bodies('gsm8k-chat').map((body) => ({
      units: countRequest(body),
      tokens: chatTokens(body, count),
    }));
    const estimator = new TokenEstimator();
    const cold = errors(samples, estimator);
    expect(cold.line).toBeLessThan(0.1);
    expect(cold.call).toBeLessThan(0.1);
    for (const { units, tokens } of samples.slice(0, 300)) estimator.learn(units, tokens);
    const warm = errors(samples.slice(300), estimator);
    expect(warm.line).toBeLessThan(0.05);
    expect(warm.call).toBeLessThan(0.03);
  });

  test('embedding lines under cl100k: every call is within 10 % before anything is learned', () => {
    const samples = bodies('gsm8k-embeddings').map(({ input }) => ({
      units: unitsOf(input as string),
      tokens: cl100k(input as string),
    }));
    expect(errors(samples, new TokenEstimator()).call).toBeLessThan(0.1);
  });
});

describe('other languages', () => {
  const samples = (count: (text: string) => number): [string, Sample][] =>
    Object.entries(passages).map(([name, text]) => [name, { units: unitsOf(text), tokens: count(text) }]);

  test('before anything is learned, the whole of them is within 10 %, each within 25 %, under o200k', () => {
    const all = samples(o200k);
    const off = all.map(([name, { units, tokens }]) => [name, new TokenEstimator().estimate(units) / tokens] as const);
    expect(off.filter(([, ratio]) => ratio < 0.75 || ratio > 1.25)).toEqual([]);
    expect(
      errors(
        all.map(([, sample]) => sample),
        new TokenEstimator(),
        all.length,
      ).call,
    ).toBeLessThan(0.1);
  });

  test.each(Object.keys(passages))('%s alone is within 10 %% after thirty usages, whichever the tokenizer', (name) => {
    for (const count of [o200k, cl100k]) {
      const text = passages[name]!;
      const sentences = text.split(/(?<=[.。।\n])\s*/).filter((sentence) => sentence.length > 8);
      const estimator = new TokenEstimator();
      for (let i = 0; i < 30; i++) {
        const sentence = sentences[i % sentences.length]!;
        estimator.learn(unitsOf(sentence), count(sentence));
      }
      expect(Math.abs(estimator.estimate(unitsOf(text)) / count(text) - 1)).toBeLessThan(0.1);
    }
  });

  test('all of them mixed, another tokenizer than expected: after two hundred usages a call is within 10 %, a line 15 %', () => {
    const all = samples(cl100k).map(([, sample]) => sample);
    const estimator = new TokenEstimator();
    const before = errors(all, estimator, all.length);
    for (let i = 0; i < 200; i++) {
      const { units, tokens } = all[(i * 5) % all.length]!;
      estimator.learn(units, tokens);
    }
    const after = errors(all, estimator, all.length);
    expect(before.line).toBeGreaterThan(0.2);
    expect(after.call).toBeLessThan(0.1);
    expect(after.line).toBeLessThan(0.15);
  });
});

test('a usage out of all proportion moves an estimate a little, and no estimate leaves its bounds', () => {
  const estimator = new TokenEstimator();
  const units = unitsOf(passages.English!);
  for (let i = 0; i < 50; i++) estimator.learn(units, o200k(passages.English!));
  const before = estimator.estimate(units);
  estimator.learn(units, 1e9);
  expect(estimator.estimate(units) / before).toBeLessThan(1.2);
  for (const nonsense of [0, -5, Number.NaN]) estimator.learn(units, nonsense);
  for (let i = 0; i < 1000; i++) estimator.learn(units, 1e9);
  expect(estimator.estimate(units) / before).toBeLessThan(10);
});

test('a picture inside a message is counted as a picture, not as text', () => {
  const body = (url: string) => ({
    messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }],
  });
  const estimator = new TokenEstimator();
  const small = estimator.estimate(countRequest(body('data:image/png;base64,AAAA')));
  expect(estimator.estimate(countRequest(body(`data:image/png;base64,${'A'.repeat(100_000)}`)))).toBe(small);
});
