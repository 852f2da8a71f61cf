import { expect, test } from '@jest/globals';
import { defaultDrills, scheduledDrills } from '../../../shared/drill/defaults.ts';
import { dueDrills } from '../../../shared/drill/due.ts';
import { DrillWorld, shadowSource } from './support.ts';

test('where nothing is configured a tabletop is due each Monday and a shadow each month', () => {
  const drills = scheduledDrills(null, ['azure', 'aws']).map(({ drill }) => drill);
  expect(drills.map(({ holdfast }) => holdfast.kind)).toEqual(['tabletop', 'shadow']);
  const due = (at: string) => dueDrills(drills, Date.parse(`${at}Z`)).map(({ id }) => id);
  expect(due('2026-11-23T04:00')).toEqual(['weekly-tabletop-20261123t0400']);
  expect(due('2026-12-02T05:00')).toEqual(['monthly-shadow-20261202t0500']);
  expect(due('2026-11-24T12:00')).toEqual([]);
});

test.each([0, 1])('default drill %i passes', async (n) => {
  const drills = await DrillWorld.start();
  const report = await drills.run(defaultDrills(['aws', 'azure'])[n]!);
  expect(report.verdict).toMatchObject({ outcome: 'passed', reasons: [] });
});

test('an empty list turns them off, and a bad one is named', () => {
  expect(scheduledDrills([], ['aws', 'azure'])).toEqual([]);
  const bad = { ...shadowSource(), holdfast: { ...shadowSource().holdfast, lease: 'soon' } };
  expect(() => scheduledDrills([bad], ['aws', 'azure'])).toThrow(
    /^drills\.0\.holdfast\.lease: must be a number with a unit/,
  );
});
