import { describe, expect, test } from '@jest/globals';
import { planOutage, planSummary } from '../../../local/simulator/plan/index.ts';
import { awsDark, limitsWith, plan, scenario, trace } from './support.ts';

describe('a plan', () => {
  test('one cloud dark for twenty minutes: moved within two minutes by the rules, all answered, repeats within I9', () => {
    for (const seed of [1, 2]) {
      const { worlds } = plan(awsDark, `seed: ${seed}`);
      const { holdfast, apart } = worlds;
      const quiet = worlds['no-outage'];
      for (const world of [quiet, holdfast, apart]) expect(world.answered).toBe(trace.at.length);
      expect(holdfast.entries[1]).toMatchObject({ epoch: 2, states: { aws: 'fenced', azure: 'active 100' } });
      expect(holdfast.fencedAfterMs).toBeLessThanOrEqual(120_000);
      expect(holdfast.redriven).toBeGreaterThan(0);
      expect(holdfast.firstResultAfterMs).toBeGreaterThan(holdfast.fencedAfterMs!);
      expect(holdfast.repeats).toBeLessThanOrEqual(holdfast.repeatsBound);
      expect(quiet.repeats).toBe(0);
      // Without failover what lies in the dark cloud waits for it to come back.
      expect(apart.p99Ms).toBeGreaterThan(20 * 60_000);
      expect(holdfast.longestWaitMs).toBeLessThan(120_000);
      expect(apart.longestWaitMs).toBeGreaterThan(8 * 60_000);
      // And the way back is slow, on purpose.
      expect(holdfast.entries.slice(2, 4).map(({ states }) => states.aws)).toEqual(['recovering', 'active 5']);
    }
  });

  test('a cloud that never comes back: without failover its lines miss their window, with it none does', () => {
    const gone = scenario('- {at: "0:00", set: {aws: gone}}');
    const { holdfast, apart } = plan(gone, 'intake: strict').worlds;
    expect(holdfast.missed).toBe(0);
    expect(apart.missed).toBeGreaterThan(trace.at.length / 5);
    expect(apart.answered + apart.missed).toBe(trace.at.length);
  });

  test('nobody polls, and every call answers: the work is moved all the same', () => {
    const frozen = scenario('- {at: "0:00", until: "0:30", set: {aws.functions.poller: freeze}}');
    const { holdfast } = plan(frozen).worlds;
    expect(holdfast.verdicts.some(({ causes }) => causes.includes('trigger-detached'))).toBe(true);
    expect(holdfast.fencedAfterMs).toBeLessThan(300_000);
  });

  test('the vendor behind both clouds is down: nothing is moved, since moving would not help', () => {
    const vendor = scenario('- {at: "0:00", until: "0:20", set: {provider.model: "error(5xx,1.0)"}}');
    const { holdfast } = plan(vendor).worlds;
    expect(holdfast.verdicts.map(({ health }) => health)).toContain('degraded');
    expect(holdfast.entries).toHaveLength(1);
    expect(holdfast.answered).toBe(trace.at.length);
  });

  test('the link is cut and both clouds are well: nothing is moved, and strict intake waits', () => {
    const cut = scenario(
      '- {at: "0:00", until: "0:20", set: {link.aws-to-azure: "timeout(10s)", link.azure-to-aws: "timeout(10s)"}}',
    );
    const strict = plan(cut).worlds.holdfast;
    expect(strict.entries).toHaveLength(1);
    expect(strict.longestWaitMs).toBeGreaterThan(8 * 60_000);
    const available = plan(cut, 'intake: available').worlds.holdfast;
    expect(available.longestWaitMs).toBeLessThan(10_000);
    expect(available.singles).toBeGreaterThan(0);
  });

  test('the model is refused in one cloud: it moves alone, and the site stays', () => {
    const throttled = scenario('- {at: "0:00", until: "0:20", set: {azure.model: "error(429,1.0)"}}');
    const { holdfast } = plan(throttled).worlds;
    expect(holdfast.entries[1]).toMatchObject({ states: { aws: 'active 50', azure: 'active 50' } });
    expect(holdfast.entries[1]!.reason).toContain('does not work at azure');
    expect(holdfast.repeats).toBeLessThanOrEqual(holdfast.repeatsBound);
  });

  test('by hand: nothing moves before a person does, and both commands of a race are told', () => {
    const { holdfast } = plan(awsDark, 'failover: by-hand\nhandAfter: 10m').worlds;
    expect(holdfast.fencedAfterMs).toBe(600_000);
    expect(holdfast.entries[1]!.actor).toBe('on-call');
    const race = scenario(
      '- {at: "0:05", set: {operator.1: "failover(from=azure,to=aws)", operator.2: "failover(from=aws,to=azure)"}}',
    );
    const { notes, entries } = plan(race, 'failover: by-hand\nhandAfter: 20m').worlds.holdfast;
    expect(entries).toHaveLength(2);
    expect(notes.filter(({ sentence }) => /^operator\.[12]: failover (happened|refused)/.test(sentence))).toHaveLength(
      2,
    );
  });

  test('the same inputs give the same numbers, and another seed others', () => {
    const one = JSON.stringify(planSummary(plan(awsDark)));
    expect(JSON.stringify(planSummary(plan(awsDark)))).toBe(one);
    expect(JSON.stringify(planSummary(plan(awsDark, 'seed: 2')))).not.toBe(one);
  });

  test('costs: both worlds pay each token once, and repeats on top', () => {
    const { worlds, limits } = plan(awsDark);
    const tokens = (column: Int32Array) => column.reduce((sum, one) => sum + one, 0);
    const { inputPerMillion, outputPerMillion } = limits.clouds.aws.price;
    const once =
      (tokens(trace.contextTokens) * inputPerMillion + tokens(trace.generatedTokens) * outputPerMillion) / 1e6;
    const sum = ({ inference }: { inference: { aws: number; azure: number } }) => inference.aws + inference.azure;
    expect(sum(worlds['no-outage'].cost)).toBeCloseTo(once, 6);
    expect(sum(worlds.holdfast.cost)).toBeGreaterThanOrEqual(once - 1e-9);
    expect(worlds.holdfast.cost.plumbing.azure).toBeGreaterThan(worlds['no-outage'].cost.plumbing.azure);
  });

  test('what the model does not know is told and changes nothing', () => {
    const console = scenario('- {at: "0:00", until: "0:30", set: {aws.console: freeze, aws.metrics: "stale(inf)"}}');
    const { worlds, unmodelled } = planOutage(console, trace, limitsWith());
    expect(unmodelled).toEqual(['aws.console', 'aws.metrics']);
    expect(worlds.holdfast.entries).toHaveLength(1);
    expect(worlds.holdfast.p99Ms).toBe(worlds['no-outage'].p99Ms);
  });
});
