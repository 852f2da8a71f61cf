import { describe, expect, test } from '@jest/globals';
import { dueDrills, graceMs, lastSlot, outsideWindows } from '../../../shared/drill/due.ts';
import type { DrillSource } from '../../../shared/drill/file.ts';
import { drill, shadowSource } from './support.ts';

const at = (text: string) => Date.parse(`${text}Z`);

describe('the latest moment of a schedule', () => {
  test.each<[string, NonNullable<DrillSource['holdfast']['schedule']>, string, string]>([
    ['today, a minute ago', { every: 'day', at: '09:30' }, '2026-11-25T09:31:00', '2026-11-25T09:30:00'],
    ['this very moment', { every: 'day', at: '09:30' }, '2026-11-25T09:30:00', '2026-11-25T09:30:00'],
    [
      'yesterday, when it is still to come today',
      { every: 'day', at: '09:30' },
      '2026-11-25T09:29:59',
      '2026-11-24T09:30:00',
    ],
    ['last Monday', { every: 'week', day: 'mon', at: '04:00' }, '2026-11-25T00:00:00', '2026-11-23T04:00:00'],
    ['Monday a week ago', { every: 'week', day: 'mon', at: '04:00' }, '2026-11-23T03:59:00', '2026-11-16T04:00:00'],
    ['the first of this month', { every: 'month', day: 1, at: '05:00' }, '2026-11-25T00:00:00', '2026-11-01T05:00:00'],
    [
      'the first of last year’s last month',
      { every: 'month', day: 2, at: '05:00' },
      '2027-01-01T00:00:00',
      '2026-12-02T05:00:00',
    ],
    ['28 February', { every: 'month', day: 28, at: '00:00' }, '2027-03-01T00:00:00', '2027-02-28T00:00:00'],
  ])('%s', (_, schedule, now, slot) => {
    expect(new Date(lastSlot(schedule, at(now))).toISOString()).toBe(`${slot}.000Z`);
  });

  test('a drill is due from its moment on for six hours, under an id that anybody computes alike', () => {
    const daily = drill(shadowSource({ schedule: { every: 'day', at: '09:30' } }));
    const slot = at('2026-11-25T09:30:00');
    expect(dueDrills([daily], slot - 1)).toEqual([]);
    expect(dueDrills([daily], slot)).toEqual([{ drill: daily, slot, id: 'shadow-of-a-takeover-20261125t0930' }]);
    expect(dueDrills([daily], slot + graceMs - 1)).toHaveLength(1);
    expect(dueDrills([daily], slot + graceMs)).toEqual([]);
    expect(dueDrills([drill(shadowSource())], slot)).toEqual([]);
  });
});

describe('windows and dates', () => {
  const rule = (more: Partial<DrillSource['holdfast']>, now: string) =>
    outsideWindows(drill(shadowSource(more)), at(now))?.rule;
  const office = { days: ['mon', 'tue', 'wed', 'thu', 'fri'] as const, from: '08:00', until: '16:00' };

  test.each([
    ['Wednesday noon', '2026-11-25T12:00:00', undefined],
    ['Wednesday, the end itself', '2026-11-25T16:00:00', 'allowed-window'],
    ['Saturday noon', '2026-11-28T12:00:00', 'allowed-window'],
  ])('allowed in office hours: %s', (_, now, wanted) => {
    expect(rule({ 'allowed-windows': [{ ...office, days: [...office.days] }] }, now)).toBe(wanted);
  });

  test.each([
    ['late on Friday', '2026-11-27T23:00:00', 'blocked-window'],
    ['early on Saturday, which is still Friday night', '2026-11-28T01:59:00', 'blocked-window'],
    ['Saturday at its end', '2026-11-28T02:00:00', undefined],
    ['late on Saturday', '2026-11-28T23:00:00', undefined],
  ])('a window over midnight belongs to the day on which it begins: %s', (_, now, wanted) => {
    expect(rule({ 'blocked-windows': [{ days: ['fri'], from: '22:00', until: '02:00' }] }, now)).toBe(wanted);
  });

  test.each([
    ['2026-12-19T23:59:59', undefined],
    ['2026-12-20T00:00:00', 'blocked-date'],
    ['2027-01-02T23:59:59', 'blocked-date'],
    ['2027-01-03T00:00:00', undefined],
  ])('a range of dates includes both ends: %s', (now, wanted) => {
    expect(rule({ 'blocked-dates': ['2026-12-20/2027-01-02'] }, now)).toBe(wanted);
    expect(rule({ 'allowed-dates': ['2026-12-20/2027-01-02'] }, now)).toBe(
      wanted === undefined ? 'allowed-date' : undefined,
    );
  });

  test('a date that is allowed and blocked is blocked', () => {
    const dates = { 'allowed-dates': ['2026-11-25'], 'blocked-dates': ['2026-11-25'] };
    expect(rule(dates, '2026-11-25T12:00:00')).toBe('blocked-date');
  });
});
