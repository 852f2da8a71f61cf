import type { DurationMs, EpochMs } from '../units.ts';
import { type Drill, type Schedule, slugOf, type Weekday, type Window, weekdays } from './file.ts';

const dayMs: DurationMs = 86_400_000;
const minuteMs: DurationMs = 60_000;

/**
 * How long after its moment a drill may still start: a cloud that was away, or an incident, may hold it up. Later it is
 * left out, and the next moment counts.
 */
export const graceMs: DurationMs = 6 * 3_600_000;

/** A drill whose moment has come. */
export interface Due {
  drill: Drill;
  /** Its moment, by the schedule. */
  slot: EpochMs;
  /** The same from whoever looks: what makes it start once. */
  id: string;
}

/** Drills of which a moment lies within the last `graceMs`, earliest moment first. Pure. */
export function dueDrills(drills: readonly Drill[], now: EpochMs): Due[] {
  return drills
    .flatMap((drill) => {
      const slot = drill.holdfast.schedule === undefined ? undefined : lastSlot(drill.holdfast.schedule, now);
      if (slot === undefined || now - slot >= graceMs) return [];
      return [{ drill, slot, id: scheduledId(drill, slot) }];
    })
    .sort((a, b) => a.slot - b.slot || (a.id < b.id ? -1 : 1));
}

/** `weekly-tabletop-20261123t0400`. */
export function scheduledId(drill: Pick<Drill, 'title'>, slot: EpochMs): string {
  return `${slugOf(drill.title)}-${stamp(slot).slice(0, 13)}`;
}

/** `20261123t040000`, in UTC. */
export function stamp(at: EpochMs): string {
  return new Date(at).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').toLowerCase();
}

/** The latest moment of a schedule that is not after `now`. */
export function lastSlot(schedule: Schedule, now: EpochMs): EpochMs {
  const [hours, minutes] = schedule.at.split(':').map(Number) as [number, number];
  const ofDay = (hours * 60 + minutes) * minuteMs;
  const today = Math.floor(now / dayMs) * dayMs;
  for (let day = today; ; day -= dayMs) {
    if (day + ofDay <= now && isDayOf(schedule, day)) return day + ofDay;
  }
}

function isDayOf(schedule: Schedule, day: EpochMs): boolean {
  if (schedule.every === 'day') return true;
  return schedule.every === 'week' ? weekdayOf(day) === schedule.day : new Date(day).getUTCDate() === schedule.day;
}

/** 1970-01-01 was a Thursday. */
const weekdayOf = (at: EpochMs): Weekday => weekdays[(Math.floor(at / dayMs) + 3) % 7]!;

/** Why a drill may not run at this moment, by the name of what forbids it; `undefined` where nothing does. Pure. */
export function outsideWindows(
  { holdfast }: Pick<Drill, 'holdfast'>,
  now: EpochMs,
): { rule: 'blocked-date' | 'allowed-date' | 'blocked-window' | 'allowed-window'; sentence: string } | undefined {
  const date = new Date(now).toISOString().slice(0, 10);
  const blocked = holdfast['blocked-dates'].find((range) => holdsDate(range, date));
  if (blocked !== undefined) return { rule: 'blocked-date', sentence: `${date} is blocked for drills (${blocked})` };
  const dates = holdfast['allowed-dates'];
  if (dates.length > 0 && !dates.some((range) => holdsDate(range, date)))
    return { rule: 'allowed-date', sentence: `this drill is allowed on ${dates.join(', ')}; it is ${date}` };
  const closed = holdfast['blocked-windows'].find((window) => isIn(window, now));
  if (closed !== undefined)
    return { rule: 'blocked-window', sentence: `drills are blocked ${shown(closed)}; it is ${timeOf(now)} UTC` };
  const allowed = holdfast['allowed-windows'];
  if (allowed.length === 0 || allowed.some((window) => isIn(window, now))) return undefined;
  return {
    rule: 'allowed-window',
    sentence: `this drill is allowed ${allowed.map(shown).join(' or ')}; it is ${weekdayOf(now)} ${timeOf(now)} UTC`,
  };
}

function holdsDate(range: string, date: string): boolean {
  const [from, until = from] = range.split('/') as [string, string?];
  return date >= from && date <= until;
}

/** A window that ends before it begins goes over midnight, and belongs to the day on which it begins. */
function isIn({ days, from, until }: Window, now: EpochMs): boolean {
  const time = timeOf(now);
  const isDay = days.includes(weekdayOf(now));
  if (from <= until) return isDay && time >= from && time < until;
  return (isDay && time >= from) || (days.includes(weekdayOf(now - dayMs)) && time < until);
}

const timeOf = (at: EpochMs) => new Date(at).toISOString().slice(11, 16);
const shown = ({ days, from, until }: Window) =>
  `${days.length === 7 ? 'every day' : days.join(', ')} ${from} to ${until} UTC`;
