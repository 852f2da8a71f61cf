/**
 * .NET's longest time span, which the service shows where a duration has no end.
 * @source https://learn.microsoft.com/dotnet/api/system.timespan.maxvalue 2026-11
 */
const UNLIMITED = 'P10675199DT2H48M5.4775807S';

const FORM = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/;

/** ISO 8601, as the administration API writes it; `undefined` is no end. */
export function formatDuration(durationMs: number | undefined): string {
  return durationMs === undefined ? UNLIMITED : `PT${durationMs / 1_000}S`;
}

/** @returns milliseconds; `undefined` for no end. @throws RangeError where it is not a duration. */
export function parseDuration(text: string): number | undefined {
  if (text === UNLIMITED) return undefined;
  const match = FORM.exec(text);
  if (!match || text === 'P' || text.endsWith('T')) throw new RangeError(`'${text}' is not an ISO 8601 duration`);
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  const durationMs = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000;
  // Whoever asks for longer than a number can count means no end.
  return durationMs > Number.MAX_SAFE_INTEGER ? undefined : Math.round(durationMs);
}
