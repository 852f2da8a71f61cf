import { describe, expect, test } from '@jest/globals';
import { enterPhase, newDrillState, noteUnsteady } from '../../../shared/drill/machine.ts';
import { probeValue, type Sight } from '../../../shared/drill/probes.ts';
import type { Observation, Reading, SeenObservation } from '../../../shared/health/types.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { drill, shadowSource } from './support.ts';

const canary = (observer: string, at: number, outcome: Reading['outcome']): Reading => ({
  observer,
  site: 'aws',
  signal: 'canary',
  at,
  outcome,
});
const seen = (observer: string, readings: Reading[], stale = false): SeenObservation => ({
  observation: {
    observer,
    home: observer,
    trustsItself: true,
    readings,
    backlog: [],
    verdicts: [],
  } as unknown as Observation,
  stale,
  stores: [],
});
const ask = (...observations: SeenObservation[]) =>
  probeValue(
    { type: 'holdfast', func: 'canary', arguments: { site: 'aws' } },
    { observations } as unknown as Sight,
    newDrillState({ epoch: 1, sites: {} } as unknown as ControlEntry, 0),
  );

describe('canary', () => {
  test('the latest that anybody who is heard saw of that site', () => {
    expect(ask(seen('aws', [canary('aws', 5, 'ok'), canary('aws', 9, 'failed')]))).toBe('failed');
    expect(ask(seen('aws', [canary('aws', 9, 'failed')]), seen('azure', [canary('azure', 10, 'ok')]))).toBe('ok');
  });

  test('nobody sends any, or who did is silent: nothing is known, and no tolerance holds', () => {
    expect(ask()).toBeNull();
    expect(ask(seen('aws', [canary('aws', 9, 'ok')], true))).toBeNull();
    expect(ask(seen('aws', [{ ...canary('aws', 9, 'ok'), site: 'azure' }]))).toBeNull();
  });
});

describe('the steady state during a drill', () => {
  const shadow = drill(shadowSource());
  const entry = { epoch: 1, sites: {} } as unknown as ControlEntry;
  const struck = { ...enterPhase(newDrillState(entry, 0), 'method', 0), faultAt: 0 };

  test('counts only time in which it did not hold, in the method, after the first fault', () => {
    const after = noteUnsteady(
      shadow,
      noteUnsteady(shadow, struck, () => 1, 3_000),
      () => 2,
      4_000,
    );
    expect(after.unsteadyMs).toEqual({ 'healthy sites': 3_000 });
    expect(noteUnsteady(shadow, { ...struck, faultAt: null }, () => 1, 3_000).unsteadyMs).toEqual({});
    expect(noteUnsteady(shadow, { ...struck, phase: 'undo' }, () => 1, 3_000).unsteadyMs).toEqual({});
  });

  test('what nobody knows does not hold', () => {
    expect(noteUnsteady(shadow, struck, () => null, 3_000).unsteadyMs).toEqual({ 'healthy sites': 3_000 });
  });
});
