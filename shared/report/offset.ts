import type { DurationMs } from '../units.ts';

/** `4:52`, `0:00:05`: a span as hours and minutes, rounded to seconds. */
export function formatOffset(ms: DurationMs): string {
  const seconds = Math.round(ms / 1_000);
  const two = (value: number) => String(value).padStart(2, '0');
  const rest = seconds % 60 === 0 ? '' : `:${two(seconds % 60)}`;
  return `${Math.floor(seconds / 3_600)}:${two(Math.floor(seconds / 60) % 60)}${rest}`;
}
