import { describe, expect, test } from '@jest/globals';
import { enterPhase, newDrillState, noteUnsteady } from '../../../shared/drill/machine.ts';
import { type ControlEntry, factBytes } from '../../../shared/journal/facts.ts';
import { canarySlotKey } from '../../../shared/journal/keys.ts';
import { DrillWorld, drill, shadowSource } from './support.ts';

/** Asks for the canary of AWS, where its slot holds this. */
async function ask(slot: object | undefined): Promise<unknown> {
  const drills = await DrillWorld.start();
  const source = shadowSource();
  const provider = { type: 'holdfast', func: 'canary', arguments: { site: 'aws' } } as const;
  source['steady-state-hypothesis'].probes.push({ type: 'probe', name: 'canary', tolerance: 'ok', provider });
  if (slot !== undefined) {
    const ended = { startedAt: 5, endedAt: 9, outcome: 'ok', code: null, streak: 0 };
    const fact = {
      v: 1,
      kind: 'canary',
      batch: `batch_${drills.world.uuid()}`,
      by: 'aws',
      nonce: 'n',
      ...ended,
      ...slot,
    };
    await drills.world.aws.state.putIfAbsent(canarySlotKey('aws'), factBytes(fact));
  }
  const report = await drills.run(source);
  return report.checks.find(({ when, name }) => when === 'before' && name === 'canary')?.value;
}

describe('canary', () => {
  test.each([
    ['the last one came through', {}, 'ok'],
    ['the last one did not', { outcome: 'unsent' }, 'failed'],
    ['one is under way, and the one before came through', { endedAt: null, outcome: null, streak: 3 }, 'ok'],
    ['the first one is under way', { endedAt: null, outcome: null }, null],
    ['none was ever sent', undefined, null],
  ])('%s', async (_, slot, value) => {
    expect(await ask(slot)).toBe(value);
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
