import { describe, expect, test } from '@jest/globals';
import {
  nextSample,
  type OpenBatch,
  progressReadings,
  type SilentModels,
  silentModels,
} from '../../../shared/health/progress.ts';
import type { Reading } from '../../../shared/health/types.ts';

const limits = { runMs: 240_000, leaseMs: 60_000 };
const held = new Map([['aws', { work: { visible: 3, inFlight: 1, delayed: 0, deadLettered: 0 } }]]);
const ignored = new Map([['aws', { work: { visible: 3, inFlight: 0, delayed: 0, deadLettered: 0 } }]]);
const nobodySilent: SilentModels = { has: () => false, any: () => false };

const open = (more: Partial<OpenBatch> = {}): OpenBatch => ({
  batch: 'batch_a',
  site: 'aws',
  model: 'm',
  endpoint: '/v1/chat/completions',
  lines: 10,
  answered: 5,
  written: 1,
  acceptedAt: 0,
  ...more,
});

/** What is said of a backlog that looked so at these moments, of the last one. */
function said(depths: typeof held, looks: [at: number, open: OpenBatch][], silent = nobodySilent) {
  let previous: ReturnType<typeof nextSample> | undefined;
  let current: ReturnType<typeof nextSample> | undefined;
  for (const [at, one] of looks) {
    previous = current;
    current = nextSample(previous, [one], at);
  }
  return progressReadings('aws', ['aws'], previous, current!, depths, limits, silent)[0];
}

describe('progress', () => {
  test('messages that nobody takes, and nothing moves: stalled', () => {
    expect(
      said(ignored, [
        [0, open()],
        [10_000, open()],
      ]),
    ).toMatchObject({ outcome: 'failed', code: 'stalled' });
  });

  test('messages in work for longer than any run: stalled', () => {
    expect(
      said(held, [
        [0, open()],
        [290_000, open()],
      ])?.outcome,
    ).toBe('unknown');
    expect(
      said(held, [
        [0, open()],
        [290_000, open()],
        [310_000, open()],
      ])?.outcome,
    ).toBe('failed');
  });

  test('lines that are answered a second time answer nothing new, and prove that somebody works', () => {
    expect(
      said(held, [
        [0, open()],
        [290_000, open()],
        [310_000, open({ written: 2 })],
      ])?.outcome,
    ).toBe('ok');
  });

  test.each<[Reading['outcome'], string]>([
    ['ok', 'failed'],
    ['failed', 'unknown'],
    ['unknown', 'unknown'],
  ])('F44: where the last look at the model was %s, a backlog that nobody takes is %s', (outcome, expected) => {
    const look: Reading = { observer: 'aws', site: 'aws', signal: 'model', subject: 'm', at: 0, outcome };
    expect(
      said(
        ignored,
        [
          [0, open()],
          [10_000, open()],
        ],
        silentModels([look]),
      )?.outcome,
    ).toBe(expected);
    // Of the same model elsewhere it says nothing.
    const elsewhere = silentModels([{ ...look, site: 'azure' }]);
    expect(
      said(
        ignored,
        [
          [0, open()],
          [10_000, open()],
        ],
        elsewhere,
      )?.outcome,
    ).toBe('failed');
  });

  test('a model is silent, and a backlog of another one is not taken: it has to wait for one turn before that is a stall', () => {
    const look: Reading = { observer: 'aws', site: 'aws', signal: 'model', subject: 'n', at: 0, outcome: 'failed' };
    const saidAt = (ms: number, code = 'timeout') =>
      said(
        ignored,
        [
          [0, open()],
          [10_000, open()],
          [ms, open()],
        ],
        silentModels([{ ...look, code }]),
      )?.outcome;
    expect(saidAt(limits.runMs + limits.leaseMs)).toBe('unknown');
    expect(saidAt(limits.runMs + limits.leaseMs + 1)).toBe('failed');
    // Lines that nothing serves are given back at once: nobody waits behind them.
    expect(saidAt(limits.runMs, 'unserved')).toBe('failed');
  });
});
