import { describe, expect, test } from '@jest/globals';
import type { Dispatch } from '../../../shared/journal/facts.ts';
import { doneWithin, type Pace, paceAfter } from '../../../shared/redrive/pace.ts';
import { planRedrive, type RedriveBatch, redriveLimits } from '../../../shared/redrive/plan.ts';
import { outstandingRanges } from '../../../shared/worker/outstanding.ts';
import { isDead, placeOf } from '../../../shared/worker/owner.ts';
import { firstEntry } from '../../support/world.ts';

const now = 1_000_000;
const entry = firstEntry(0);
const fenced = {
  ...entry,
  epoch: 2,
  sites: { ...entry.sites, aws: { ...entry.sites.aws!, state: 'fenced' as const, fencedEpoch: 2 } },
};
const idle: Pace = { since: 0, done: [], seen: new Map(), ownSentAt: Number.NEGATIVE_INFINITY };
const where = { self: 'azure', control: fenced, now, pace: idle };
const limits = { start: 10, waveMax: 1_000, growth: 2, waitingMax: 10_000, floor: 5, reserve: 0.5, horizonMs: 60_000 };
const range = (firstLine: number, to = 'aws', epoch = 1, reason: Dispatch['reason'] = 'plan') => ({
  firstLine,
  lines: 1,
  to,
  epoch,
  reason,
  sentAt: 0,
  leaseEnds: 300_000,
});
const batch = (name: string, more: Partial<RedriveBatch> = {}): RedriveBatch => ({
  batch: name,
  model: 'm',
  boundTo: null,
  deadline: 1,
  isMoved: false,
  ranges: [],
  redrivenHere: 0,
  ...more,
});
const many = (count: number, ...as: [to?: string, epoch?: number, reason?: Dispatch['reason']]) =>
  Array.from({ length: count }, (_, i) => range(i, ...as));

describe('what is redriven', () => {
  test('oldest deadline first, lines in order, whatever order the batches come in', () => {
    const open = [
      batch('c', { deadline: 3, ranges: many(2) }),
      batch('a', { deadline: 1, ranges: many(2) }),
      batch('b', { deadline: 2, ranges: many(2) }),
    ];
    const { waves } = planRedrive(open, where, limits);
    expect(waves.flat().map(({ batch, firstLine }) => `${batch}${firstLine}`)).toEqual([
      'a0',
      'a1',
      'b0',
      'b1',
      'c0',
      'c1',
    ]);
    expect(planRedrive(open.toReversed(), where, limits)).toEqual(planRedrive(open, where, limits));
  });

  test('nothing of a site that is well, nothing twice, and what a site had before it was fenced, also once it is back', () => {
    const live = [range(0, 'azure', 2, 'redrive')];
    expect(planRedrive([batch('a', { ranges: live })], where, limits).left).toBe(0);
    const back = { ...fenced, epoch: 4, sites: { ...fenced.sites, aws: { ...fenced.sites.aws!, state: 'active' } } };
    const control = back as typeof fenced;
    expect(planRedrive([batch('a', { ranges: many(1) })], { ...where, control }, limits).left).toBe(1);
    const anew = [{ ...range(0, 'aws', 3), leaseEnds: now + 1 }];
    expect(planRedrive([batch('a', { ranges: anew })], { ...where, control }, limits).left).toBe(0);
  });

  test('scopes: one batch, one model, all', () => {
    const open = [batch('a', { ranges: many(2) }), batch('b', { ranges: many(3), model: 'n' })];
    expect(planRedrive(open, where, limits).left).toBe(5);
    expect(planRedrive(open, where, limits, { kind: 'batch', batch: 'a' }).left).toBe(2);
    expect(planRedrive(open, where, limits, { kind: 'model', model: 'n' }).left).toBe(3);
  });

  test('F7 F12 the record of a frozen process that comes late takes nothing back', () => {
    const wave = (to: string, at: number, epoch: number, reason: Dispatch['reason']): Dispatch => ({
      v: 1,
      kind: 'dispatch',
      batch: 'b',
      at,
      site: to,
      epoch,
      uuid: 'u',
      to,
      leaseMs: 1,
      reason,
      ranges: [[0, 5]],
    });
    const dispatches = [wave('azure', 100, 2, 'redrive'), wave('aws', 200, 1, 'lost')];
    const dead = (one: Dispatch) => isDead(one, fenced);
    expect(outstandingRanges(dispatches, new Uint8Array(5), undefined, dead).map(({ to }) => to)).toEqual(['azure']);
    const view = {
      batch: 'b',
      plan: undefined,
      acceptance: { home: 'aws' },
      manifest: { boundTo: null },
    } as unknown as Parameters<typeof placeOf>[0];
    const unfenced = { ...fenced, sites: { ...fenced.sites, aws: entry.sites.aws! } };
    expect(placeOf(view, dispatches, unfenced, undefined).owner).toBe('aws');
    expect(placeOf(view, dispatches, fenced, undefined)).toEqual({ owner: 'azure', isMoved: false, isWaiting: false });
  });
});

describe('pace', () => {
  test('counts what was answered between looks, closed batches as a whole, for as long as the horizon', () => {
    const open = (...batches: [string, number, number][]) =>
      batches.map(([batch, sentHere, answeredHere]) => ({ batch, sentHere, answeredHere, ownSentAt: 5 }));
    const first = paceAfter(undefined, open(['a', 10, 4], ['b', 10, 0]), 10_000, 60_000);
    expect(doneWithin(first, 10_000, 60_000)).toBe(0);
    const second = paceAfter(first, open(['b', 20, 5]), 20_000, 60_000);
    expect(doneWithin(second, 20_000, 60_000)).toBe(11 * 6);
    expect(second.ownSentAt).toBe(5);
    expect(doneWithin(paceAfter(second, [], 90_000, 60_000), 90_000, 60_000)).toBe(15);
  });
});

describe('I14 how much at a time', () => {
  test('waves double from the start rate up to what the queue takes in a tick', () => {
    const sizes = (redrivenHere: number) =>
      planRedrive([batch('a', { ranges: many(9_000), redrivenHere })], where, limits).waves.map((one) => one.length);
    expect(sizes(0)).toEqual([10, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 720]);
    expect(sizes(320)[0]).toBe(320);
  });

  test('what waits here never exceeds the headroom', () => {
    const waiting = many(9_990, 'azure', 2, 'redrive');
    const open = [batch('a', { ranges: many(500) }), batch('b', { ranges: waiting, redrivenHere: 9_990 })];
    expect(planRedrive(open, where, limits).waves[0]).toHaveLength(10);
    const full = [open[0]!, batch('b', { ranges: many(10_000, 'azure', 2, 'redrive'), redrivenHere: 10_000 })];
    expect(planRedrive(full, where, limits)).toMatchObject({ left: 500, room: 0 });
    expect(planRedrive(full, where, limits).waves[0]).toHaveLength(0);
  });

  test('beside own work: over every mix, own work has half of the headroom or all that it has waiting fits into it', () => {
    for (const own of [6, 10, 100, 1000, 5000])
      for (const waiting of [0, 10, 100, 1000])
        for (const answeredHere of [0, 50, 500, 5000]) {
          const open = [
            batch('own', { ranges: many(own, 'azure') }),
            batch('driven', { ranges: many(waiting, 'azure', 2, 'redrive'), redrivenHere: waiting }),
            batch('dark', { ranges: many(5000) }),
          ];
          const pace = { ...idle, since: now - 60_000, done: [{ at: now, pointers: answeredHere }] };
          const headroom = Math.max(limits.floor, answeredHere);
          const sent = planRedrive(open, { ...where, pace }, limits).waves[0]!.length;
          if (sent === 0) continue;
          const fits = own + waiting + sent <= headroom;
          expect([own, waiting, answeredHere, fits || waiting + sent <= headroom / 2]).toEqual([
            own,
            waiting,
            answeredHere,
            true,
          ]);
        }
  });

  test('as deployed: a million lines to an idle site within 60 s, never above half of what Service Bus Standard takes', () => {
    for (const tickMs of [2_000, 10_000]) {
      const { waves } = planRedrive([batch('a', { ranges: many(20_000) })], where, redriveLimits(tickMs));
      expect(waves.length * tickMs).toBeLessThanOrEqual(60_000);
      for (const wave of waves) expect(wave.length).toBeLessThanOrEqual((500 * tickMs) / 1000);
    }
  });
});
