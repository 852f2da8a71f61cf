import type { DurationMs } from '../../../shared/units.ts';
import { clouds, type Plan, variantNames, variants } from '../plan/index.ts';

/** Rows of text, the first one the head: what differs between the worlds, for terminal and page alike. */
export function comparison({ worlds }: Plan): string[][] {
  const of = (what: string, show: (world: Plan['worlds'][keyof Plan['worlds']]) => string) => [
    what,
    ...variants.map((variant) => show(worlds[variant])),
  ];
  const optional = (ms: DurationMs | undefined) => (ms === undefined ? '–' : duration(ms));
  return [
    ['', ...variants.map((variant) => variantNames[variant])],
    of('lines answered', ({ answered, lines }) => `${count(answered)} of ${count(lines)}`),
    of('lines that miss their window', ({ missed }) => count(missed)),
    of('fault to failover', ({ fencedAfterMs }) => optional(fencedAfterMs)),
    of('fault to first redriven result (RTO)', ({ firstResultAfterMs }) => optional(firstResultAfterMs)),
    of('fault to last pointer redriven', ({ redrivenAfterMs }) => optional(redrivenAfterMs)),
    of('pointers redriven', ({ redriven }) => count(redriven)),
    of('lines computed more than once', ({ repeats }) => count(repeats)),
    of('… at most (I9)', ({ repeatsBound }) => (repeatsBound === 0 ? '–' : count(repeatsBound))),
    of('highest backlog, lines', ({ backlogMax }) => count(backlogMax)),
    of('request to answer, median', ({ medianMs }) => duration(medianMs)),
    of('request to answer, 99 of 100', ({ p99Ms }) => duration(p99Ms)),
    of('batches that waited for a receipt', ({ refusedBatches }) => count(refusedBatches)),
    of('longest wait for a receipt', ({ longestWaitMs }) => (longestWaitMs < 2_000 ? '–' : duration(longestWaitMs))),
  ];
}

/** Rows of text, the first one the head: dollars. */
export function costs({ worlds }: Plan): string[][] {
  const of = (what: string, show: (cost: Plan['worlds'][keyof Plan['worlds']]['cost']) => number) => [
    what,
    ...variants.map((variant) => money(show(worlds[variant].cost))),
  ];
  return [
    ['dollars', ...variants.map((variant) => variantNames[variant])],
    ...clouds.map((id) => of(`inference, ${id}`, ({ inference }) => inference[id])),
    ...clouds.map((id) => of(`plumbing, ${id}`, ({ plumbing }) => plumbing[id])),
    of('all', ({ total }) => total),
    of('of which computed again', ({ repeats }) => repeats),
  ];
}

const count = (value: number) => value.toLocaleString('en-US');

/** `$12.34`, with more digits where it is little. */
export function money(dollars: number, signed = false): string {
  const digits = Math.abs(dollars) >= 100 ? 0 : Math.abs(dollars) >= 0.1 || dollars === 0 ? 2 : 4;
  const sign = dollars < 0 ? '−' : signed && dollars > 0 ? '+' : '';
  return `${sign}$${Math.abs(dollars).toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** `850 ms`, `72 s`, `5 min 21 s`, `40 min`, `3 h 20 min`, `4 d 3 h`. */
export function duration(ms: DurationMs): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 180) return `${seconds} s`;
  if (seconds < 1_800 && seconds % 60 !== 0) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
