import { describe, expect, test } from '@jest/globals';
import { drawHome, type HomeChoice } from '../../../shared/api/home.ts';
import type { ModelBackend, ModelEntry } from '../../../shared/core.ts';
import type { SiteState } from '../../../shared/journal/facts.ts';
import { controlEntry, createWorld, lcg } from './support.ts';

const backend = (cloud: 'aws' | 'azure', input: number | null): ModelBackend => ({
  cloud,
  kind: 'openai',
  name: cloud,
  address: `http://${cloud}/v1`,
  model: 'm',
  identity: null,
  family: null,
  limits: {},
  price: input === null ? null : { input, output: 1, cachedInput: input },
  isPermitted: true,
});
const entry = (more: Partial<ModelEntry>): ModelEntry => ({
  alias: 'm',
  policy: 'same_model',
  clouds: ['aws', 'azure'],
  placement: 'weights',
  weights: null,
  unplaced: 'wait',
  backends: [backend('aws', 3), backend('azure', 2)],
  ...more,
});

/** Homes of 1,000 batches, by site. */
function draws(
  more: Partial<HomeChoice>,
  states: Record<'aws' | 'azure', SiteState> = { aws: 'active', azure: 'active' },
) {
  const core = { ...createWorld().core('aws'), random: lcg(3) };
  const choice = { control: controlEntry(states), boundTo: null, serving: ['aws', 'azure'], entry: undefined, ...more };
  const homes: Record<string, number> = {};
  for (let i = 0; i < 1000; i++) {
    const home = drawHome(core, choice);
    homes[home] = (homes[home] ?? 0) + 1;
  }
  return homes;
}

describe('home of a new batch', () => {
  test('without a word in the map: by the weights of the control log', () => {
    const { aws, azure } = draws({});
    expect(Math.abs(aws! - azure!)).toBeLessThan(100);
  });

  test('by weights of its own', () => {
    const { aws, azure } = draws({ entry: entry({ weights: { aws: 90, azure: 10 } }) });
    expect(aws! / azure!).toBeGreaterThan(6);
    expect(draws({ entry: entry({ weights: { azure: 1 } }) })).toEqual({ azure: 1000 });
  });

  test('cheapest first, and where that one is not active, the next', () => {
    const cheapest = entry({ placement: 'cheapest' });
    expect(draws({ entry: cheapest })).toEqual({ azure: 1000 });
    expect(draws({ entry: cheapest }, { aws: 'active', azure: 'cordoned' })).toEqual({ aws: 1000 });
  });

  test('equally cheap: by weight', () => {
    const { aws, azure } = draws({
      entry: entry({ placement: 'cheapest', backends: [backend('aws', 2), backend('azure', 2)] }),
    });
    expect(Math.min(aws!, azure!)).toBeGreaterThan(400);
  });

  test('where its payload is bound to, whatever is cheap', () => {
    expect(draws({ boundTo: 'aws', entry: entry({ placement: 'cheapest' }) })).toEqual({ aws: 1000 });
  });

  test('only where its model may be served; while that is fenced, it waits there', () => {
    expect(draws({ serving: ['azure'] })).toEqual({ azure: 1000 });
    expect(draws({ serving: ['azure'] }, { aws: 'active', azure: 'fenced' })).toEqual({ azure: 1000 });
  });

  test('a model that is not known goes to any active site, whose planner refuses it', () => {
    expect(draws({ serving: [] }, { aws: 'fenced', azure: 'active' })).toEqual({ azure: 1000 });
  });
});
