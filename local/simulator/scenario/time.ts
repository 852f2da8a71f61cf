import type { DurationMs } from '../../../shared/units.ts';

export { formatOffset } from '../../../shared/report/offset.ts';

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A year; what lasts longer has no end that a run could see. */
const spanMsMax: DurationMs = 366 * unitsMs.d;

export const offsetRule = "must be 'h:mm' or 'h:mm:ss' after T+0, minutes and seconds from 00 to 59, at most a year";
export const durationRule = "must be a number with a unit (ms, s, m, h, d), such as '30m', at most a year";

/** `1:30`, `72:00`, `0:00:05`; `undefined` for what is none. */
export function parseOffset(text: string): DurationMs | undefined {
  const [, hours, minutes, seconds = '0'] = /^(\d{1,5}):([0-5]\d)(?::([0-5]\d))?$/.exec(text.trim()) ?? [];
  if (hours === undefined) return undefined;
  const ms = Number(hours) * unitsMs.h + Number(minutes) * unitsMs.m + Number(seconds) * unitsMs.s;
  return ms <= spanMsMax ? ms : undefined;
}

/** `8s`, `1.5h`; `undefined` for what is none. `inf` only where it makes sense: `stale(inf)`. */
export function parseDuration(text: string): DurationMs | undefined {
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  if (amount === undefined) return undefined;
  const ms = Math.round(Number(amount) * unitsMs[unit as keyof typeof unitsMs]);
  return ms <= spanMsMax ? ms : undefined;
}
