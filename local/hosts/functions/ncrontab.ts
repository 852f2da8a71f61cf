import { ConfigError } from '../../../shared/errors.ts';
import type { EpochMs } from '../../../shared/units.ts';

/** Allowed values of second, minute, hour, day, month, day of week (0 and 7 are Sunday). */
const fields = [
  [0, 59],
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 7],
] as const;

const dayMs = 86_400_000;
/** A date that does not come within this long never comes (29 February needs eight years). */
const horizonMs = 9 * 366 * dayMs;

/** A parsed expression: the moments it names, in UTC. */
export interface Schedule {
  /** The first moment strictly after `at`. */
  next(at: EpochMs): EpochMs;
}

/**
 * Parses a timer's six fields: numbers, `*`, ranges, lists, steps. Names of months and days are not emulated.
 * @throws ConfigError naming the expression
 * @source https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions 2026-11
 */
export function parseNcrontab(expression: string): Schedule {
  const texts = expression.trim().split(/\s+/);
  const wrong = (why: string) => new ConfigError('schedule', `schedule: '${expression}' ${why}`);
  if (texts.length !== fields.length) throw wrong('must have six fields: second minute hour day month day-of-week');
  const [seconds, minutes, hours, days, months, weekdays] = fields.map(([min, max], i) => {
    const values = new Set<number>();
    for (const part of texts[i]!.split(',')) {
      const match = /^(?:(\*)|(\d+)(?:-(\d+))?)(?:\/(\d+))?$/.exec(part);
      if (!match) throw wrong(`has '${part}', which is no number, range or step`);
      const [, star, from, to, step] = match;
      const first = star ? min : Number(from);
      const last = star || (to === undefined && step !== undefined) ? max : Number(to ?? from);
      if (first < min || last > max || first > last || step === '0')
        throw wrong(`has '${part}', not within ${min}-${max}`);
      for (let value = first; value <= last; value += Number(step ?? 1)) values.add(value);
    }
    return values;
  }) as [Set<number>, Set<number>, Set<number>, Set<number>, Set<number>, Set<number>];
  if (weekdays.has(7)) weekdays.add(0);

  function next(at: EpochMs): EpochMs {
    let time = Math.floor(at / 1_000) * 1_000 + 1_000;
    const end = time + horizonMs;
    while (time < end) {
      const date = new Date(time);
      const isDay = months.has(date.getUTCMonth() + 1) && days.has(date.getUTCDate()) && weekdays.has(date.getUTCDay());
      if (!isDay) time = after(time, dayMs);
      else if (!hours.has(date.getUTCHours())) time = after(time, 3_600_000);
      else if (!minutes.has(date.getUTCMinutes())) time = after(time, 60_000);
      else if (!seconds.has(date.getUTCSeconds())) time += 1_000;
      else return time;
    }
    throw wrong('names no date that ever comes');
  }
  next(0);
  return { next };
}

/** Start of the next day, hour or minute. */
function after(time: EpochMs, unitMs: number): EpochMs {
  return (Math.floor(time / unitMs) + 1) * unitMs;
}
