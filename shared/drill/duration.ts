import type { DurationMs } from '../units.ts';

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** What a span has to look like, for people. */
export const durationRule = "must be a number with a unit (ms, s, m, h, d), such as '90s'";

/** `90s`, `1.5m`, `0s`; `undefined` for what is none. */
export function parseDuration(text: string): DurationMs | undefined {
  const [, amount, unit] = /^(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  return amount === undefined ? undefined : Math.round(Number(amount) * unitsMs[unit as keyof typeof unitsMs]);
}

/** `850 ms`, `12.4 s`, `5 min 21 s`, `2 h 5 min`. */
export function showDuration(ms: DurationMs): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min${seconds % 60 === 0 ? '' : ` ${seconds % 60} s`}`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h${minutes % 60 === 0 ? '' : ` ${minutes % 60} min`}`;
}
