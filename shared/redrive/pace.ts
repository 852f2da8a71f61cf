import type { DurationMs, EpochMs } from '../units.ts';

/** What a site gets done, as seen from tick to tick. Only its own process remembers it: it bounds haste, not safety. */
export interface Pace {
  /** First look. */
  since: EpochMs;
  /** Pointers answered between two looks. */
  done: readonly { at: EpochMs; pointers: number }[];
  /** Each open batch at the last look. */
  seen: ReadonlyMap<string, Pick<PacedBatch, 'sentHere' | 'answeredHere'>>;
  /** When own work was last sent here. */
  ownSentAt: EpochMs;
}

export interface PacedBatch {
  batch: string;
  /** Pointers sent here in waves that are not stale, and how many of them are answered. */
  sentHere: number;
  answeredHere: number;
  /** Last wave sent here that redrive did not send. */
  ownSentAt: EpochMs | undefined;
}

/** The pace after one more look. A batch that is open no more has been answered as far as it was sent. */
export function paceAfter(
  last: Pace | undefined,
  open: readonly PacedBatch[],
  now: EpochMs,
  horizonMs: DurationMs,
): Pace {
  const seen = new Map(open.map(({ batch, sentHere, answeredHere }) => [batch, { sentHere, answeredHere }]));
  let pointers = 0;
  for (const [batch, before] of last?.seen ?? []) {
    const after = seen.get(batch)?.answeredHere ?? before.sentHere;
    pointers += Math.max(0, after - before.answeredHere);
  }
  const done = [...(last?.done ?? []), { at: now, pointers }].filter(({ at }) => at > now - horizonMs);
  const ownSentAt = open.reduce(
    (latest, one) => Math.max(latest, one.ownSentAt ?? 0),
    last?.ownSentAt ?? Number.NEGATIVE_INFINITY,
  );
  return { since: last?.since ?? now, done, seen, ownSentAt };
}

/** Pointers that the site gets done within `horizonMs`; 0 until a second look. */
export function doneWithin(pace: Pace, now: EpochMs, horizonMs: DurationMs): number {
  const watchedMs = Math.min(horizonMs, now - pace.since);
  if (watchedMs <= 0) return 0;
  const pointers = pace.done.reduce((sum, one) => sum + one.pointers, 0);
  return Math.floor((pointers * horizonMs) / watchedMs);
}
