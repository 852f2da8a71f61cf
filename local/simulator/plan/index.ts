import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import { formatOffset, type Scenario } from '../scenario/index.ts';
import { type Cost, costOf } from './cost.ts';
import type { PlanLimits } from './limits.ts';
import { type RunResult, runVariant, type Variant } from './run.ts';
import { repeated, type Trace } from './trace.ts';
import { unmodelled } from './weather.ts';
import { batchesOf } from './work.ts';

export type { Cost } from './cost.ts';
export { type Cloud, clouds, defaultLimits, type PlanLimits, parseLimits } from './limits.ts';
export type { RunResult, Sample, Variant } from './run.ts';
export { parseTrace, type Trace } from './trace.ts';

/** What an outage would cost: three worlds side by side. */
export interface Plan {
  scenario: Scenario;
  limits: PlanLimits;
  /** Requests of the trace, as often as it is played, and what they were gathered into. */
  lines: number;
  batches: number;
  chunks: number;
  traceMs: DurationMs;
  /** Where in the trace the outage begins. */
  outageAtMs: DurationMs;
  /** How long it lasts; `undefined`: it does not end. */
  outageMs: DurationMs | undefined;
  worlds: Record<Variant, RunResult & { cost: Cost }>;
  /** Components of the scenario that this model does not know. */
  unmodelled: string[];
}

export const variants: readonly Variant[] = ['no-outage', 'holdfast', 'apart'];

/** How people call the three worlds. */
export const variantNames: Record<Variant, string> = {
  'no-outage': 'no outage',
  holdfast: 'outage, Holdfast',
  apart: 'outage, no failover',
};

/**
 * Plays a trace through both clouds three times: without the outage, with it under Holdfast, and with it where each cloud
 * is by itself. Virtual time; the same inputs give the same plan.
 * @param progress told before each of the three
 */
export function planOutage(
  scenario: Scenario,
  given: Trace,
  limits: PlanLimits,
  progress: (variant: Variant) => void = () => {},
): Plan {
  const trace = repeated(given, limits.repeatTrace);
  const batches = batchesOf(trace, limits);
  const start = trace.at[0]!;
  const traceMs = trace.at.at(-1)! - start;
  const outageAtMs = Math.round((limits.outageAt ?? traceMs / 3) / 1_000) * 1_000;
  const zero: EpochMs = Math.floor(start / 1_000) * 1_000 + outageAtMs;
  const run = (variant: Variant) => {
    progress(variant);
    const result = runVariant({ variant, trace, batches, scenario, limits, zero });
    return { ...result, cost: costOf(result.usage, result.repeats, limits, variant === 'apart') };
  };
  const ends = scenario.effects.filter(({ mode }) => mode.kind !== 'command').map(({ untilMs }) => untilMs);
  return {
    scenario,
    limits,
    lines: trace.at.length,
    batches: batches.length,
    chunks: batches.reduce((sum, { chunks }) => sum + chunks.length, 0),
    traceMs,
    outageAtMs,
    outageMs: ends.includes(undefined) ? undefined : Math.max(0, ...ends.map((end) => end ?? 0)),
    worlds: { 'no-outage': run('no-outage'), holdfast: run('holdfast'), apart: run('apart') },
    unmodelled: unmodelled(scenario),
  };
}

/** A plan as JSON: numbers and sentences, without the points of the plots. */
export function planSummary(plan: Plan) {
  const { scenario, lines, batches, chunks, traceMs, outageAtMs, outageMs, worlds } = plan;
  return {
    scenario: scenario.id,
    lines,
    batches,
    chunks,
    traceMs,
    outageAtMs,
    outageMs: outageMs ?? null,
    worlds: Object.fromEntries(
      variants.map((variant) => {
        const { samples: _samples, entries, verdicts, notes, usage: _usage, ...numbers } = worlds[variant];
        return [
          variant,
          {
            ...numbers,
            fencedAfterMs: numbers.fencedAfterMs ?? null,
            redrivenAfterMs: numbers.redrivenAfterMs ?? null,
            firstResultAfterMs: numbers.firstResultAfterMs ?? null,
            ...(variant === 'holdfast' && { entries, verdicts, notes }),
          },
        ];
      }),
    ),
    unmodelled: plan.unmodelled,
  };
}

/** What the plan comes to, as sentences; the first is the answer. */
export function findings({ worlds, outageMs, scenario, limits }: Plan): string[] {
  const { holdfast, apart } = worlds;
  const seconds = (ms: DurationMs) => `${Math.round(ms / 1_000)} s`;
  const said: string[] = [];
  if (holdfast.firstResultAfterMs !== undefined)
    said.push(`${scenario.id}: first redriven result ${seconds(holdfast.firstResultAfterMs)} after the fault (RTO).`);
  else if (holdfast.fencedAfterMs !== undefined)
    said.push(
      `${scenario.id}: failed over ${seconds(holdfast.fencedAfterMs)} after the fault; nothing was open in the lost cloud, so nothing had to be sent again.`,
    );
  else
    said.push(`${scenario.id}: nothing is failed over${holdfast.notes.length > 0 ? `: ${lastReason(holdfast)}` : '.'}`);
  said.push(
    `${holdfast.missed} of ${holdfast.lines} lines miss their window under Holdfast, ${apart.missed} without failover.`,
  );
  said.push(
    `${holdfast.repeats} lines are computed more than once (at most ${holdfast.repeatsBound} may be, I9), for $${holdfast.cost.repeats.toFixed(4)}.`,
  );
  if (outageMs === undefined) said.push('The outage does not end by itself within this plan.');
  if (limits.failover === 'by-hand') said.push('A person fails over; monitors only recommend.');
  return said;
}

function lastReason({ notes }: RunResult): string {
  const why = notes.findLast(({ sentence }) => !/^all sites that serve are healthy|nobody says why/.test(sentence));
  return why === undefined
    ? 'nobody finds a reason to.'
    : `${why.sentence} (${formatOffset(why.atMs)} into the trace).`;
}
