import { describe, expect, test } from '@jest/globals';
import type { ModelEntry } from '../../../shared/core.ts';
import { type AnsweredLine, inferenceCost, sumSpent } from '../../../shared/cost/inference.ts';
import { noUsage } from '../../../shared/journal/facts.ts';

const backend = (cloud: 'aws' | 'azure', price: ModelEntry['backends'][number]['price']) => ({
  cloud,
  kind: 'openai',
  name: `${cloud}-llm`,
  address: '',
  model: 'm',
  identity: null,
  family: null,
  limits: {},
  price,
  isPermitted: true,
});
const entry: ModelEntry = {
  alias: 'm',
  policy: 'any',
  clouds: ['aws', 'azure'],
  placement: 'weights',
  weights: null,
  unplaced: 'wait',
  backends: [backend('aws', { input: 2, output: 8, cachedInput: 0.5 }), backend('azure', null)],
};
const line = (more: Partial<AnsweredLine> = {}): AnsweredLine => ({
  line: 0,
  site: 'aws',
  cloud: 'aws',
  backend: 'aws-llm',
  model: 'm-1',
  usage: { ...noUsage, inputTokens: 1_000_000, outputTokens: 500_000 },
  isChosen: true,
  ...more,
});

describe('dollars of inference', () => {
  test('input, output, and cached input at its own price', () => {
    const cached = { inputTokens: 1_000_000, cachedTokens: 400_000, outputTokens: 500_000, reasoningTokens: 100_000 };
    const [cost] = inferenceCost([line({ usage: cached })], entry);
    // 0.6 × $2 + 0.4 × $0.50 + 0.5 × $8
    expect(cost!.chosen.dollars).toBeCloseTo(5.4, 10);
    expect(cost!.chosen).toMatchObject({ lines: 1, input_tokens: 1_000_000, cached_tokens: 400_000 });
  });

  test('repeats stand apart, by the one who made them', () => {
    const again = line({ site: 'azure', cloud: 'azure', backend: 'azure-llm', model: 'm-2', isChosen: false });
    const [aws, azure] = inferenceCost([line(), again, line({ isChosen: false })], entry);
    expect(aws).toMatchObject({ chosen: { lines: 1, dollars: 6 }, repeats: { lines: 1, dollars: 6 } });
    expect(azure).toMatchObject({ cloud: 'azure', model: 'm-2', chosen: { lines: 0 }, repeats: { lines: 1 } });
  });

  test('a price that is not known is not zero, and neither is a sum with it', () => {
    const unpriced = line({ cloud: 'azure', site: 'azure', backend: 'azure-llm' });
    const costs = inferenceCost([line(), unpriced], entry);
    expect(costs.map(({ chosen }) => chosen.dollars)).toEqual([6, null]);
    const sum = sumSpent(costs.map(({ chosen }) => chosen));
    expect(sum).toMatchObject({ lines: 2, input_tokens: 2_000_000, dollars: null });
  });

  test.each<[string, Partial<AnsweredLine>, ModelEntry | undefined]>([
    ['a backend that the map does not name any more', { backend: 'old' }, entry],
    ['a cloud that was not written down', { cloud: undefined }, entry],
    ['no map', {}, undefined],
  ])('%s has no price', (_, more, map) => {
    expect(inferenceCost([line(more)], map)[0]!.chosen.dollars).toBeNull();
  });

  test('without a price of output, embeddings have a price, and answers do not', () => {
    const only = { ...entry, backends: [backend('aws', { input: 2, output: null, cachedInput: 2 })] };
    const embedded = line({ usage: { ...noUsage, inputTokens: 500_000 } });
    expect(inferenceCost([embedded], only)[0]!.chosen.dollars).toBe(1);
    expect(inferenceCost([embedded, line()], only)[0]!.chosen.dollars).toBeNull();
  });

  test('no answers cost nothing, for certain', () => {
    expect(sumSpent([])).toMatchObject({ lines: 0, dollars: 0 });
    const [cost] = inferenceCost([line({ backend: 'old' })], entry);
    // Nothing of what has no price was repeated.
    expect(sumSpent([cost!.repeats]).dollars).toBe(0);
  });
});
