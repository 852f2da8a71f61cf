import * as z from 'zod';
import { ruleNames } from '../../shared/control/rules.ts';
import { drillKinds } from '../../shared/drill/file.ts';
import { ConfigError } from '../../shared/errors.ts';
import type { ControlEntry } from '../../shared/journal/facts.ts';
import { repeatsOf } from './checkers/repetition.ts';
import { brokenRules } from './checkers/rules.ts';
import type { Knobs } from './knobs.ts';
import { type RunReport, simulate } from './run.ts';
import { parseOffset, type Scenario } from './scenario/index.ts';
import type { Disturbance } from './schedule.ts';
import type { Variant } from './variant.ts';
import type { Cloud } from './world.ts';

/** How an outage went. */
export interface ScenarioReport extends RunReport {
  id: string;
  /** What of `expect` was held against the run. */
  bound: string[];
  /** Sentences of `expect` that nothing here can judge, and what happened, for whoever reads. */
  notes: string[];
  /** The control log. */
  log: ControlEntry[];
  /** Each change of it, in short. */
  epochs: string[];
}

const offset = z.string().transform((written, context) => {
  const ms = parseOffset(written);
  if (ms === undefined) context.addIssue({ code: 'custom', message: "must be 'h:mm' or 'h:mm:ss'" });
  return ms ?? 0;
});

/** What our own scenario files say beyond the form. */
const extraSchema = z.looseObject({
  /** Knobs of the run; what is not named is drawn from a calm range. */
  knobs: z.record(z.string(), z.unknown()).default({}),
  /** Commands of people beyond failover and failback, as `ControlCommand` has them. */
  orders: z
    .array(
      z.strictObject({
        at: offset,
        command: z.looseObject({ kind: z.string() }),
        force: z.array(z.string()).default([]),
        site: z.enum(['aws', 'azure']).default('aws'),
        replay: z.boolean().default(false),
      }),
    )
    .default([]),
  /** Drills in which `from` gives up its work, run from a laptop that asks `site` first; its runner `dies` at that moment. */
  drills: z
    .array(
      z.strictObject({
        at: offset,
        drill: z.enum(drillKinds),
        from: z.enum(['aws', 'azure']).default('aws'),
        site: z.enum(['aws', 'azure']).default('azure'),
        dies: offset.optional(),
      }),
    )
    .default([]),
  /** Points that the run must come to. */
  reach: z.array(z.string()).default([]),
  /** How often some site may be fenced by a machine: exactly so often. */
  failovers: z.int().min(0).optional(),
  /** How many lines may be computed again, at most: a closer bound than I9, which counts what may be explained. */
  repeatsMax: z.int().min(0).optional(),
  restHours: z.number().min(0.1).max(100).optional(),
  /** The first seed, where what it must reach takes a certain one: others count on from it. */
  seed: z.int().min(1).max(1_000_000).default(1),
});

const invariantPattern = /^I([1-9]|1[0-5])$/;
const hourMs = 3_600_000;
/** About so many ticks of each monitor in one run. */
const ticksWanted = 200;
/** Before T+0: batches are under way when it begins. */
const leadMs = 600_000;

/**
 * Runs one outage: work comes in before, during and after it, people do what the file says, and then everybody looks at
 * what is left. All invariants are judged, whatever `expect` names; of its rules those that a log can show.
 * @throws ConfigError for an `extra` that is none
 */
export async function simulateScenario(
  scenario: Scenario,
  options: {
    seed: string;
    onTrace?: (line: string) => void;
    keepTrace?: number;
    variant?: Variant;
    knobs?: Partial<Knobs>;
  },
): Promise<ScenarioReport> {
  const parsed = extraSchema.safeParse(scenario.extra);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ConfigError(scenario.id, `${scenario.id}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { knobs, reach, failovers, repeatsMax, restHours } = parsed.data;
  const seed = String(Number(options.seed) + parsed.data.seed - 1);
  const schedule = scheduleOf(scenario, parsed.data);
  const lastMs = Math.max(...schedule.map((one) => Math.max(one.fromMs, ('untilMs' in one && one.untilMs) || 0)));
  const hours = Math.max(1, (lastMs + 1_200_000) / hourMs);
  const names = [...scenario.expect.must, ...scenario.expect.mustNot];
  const rules = names.filter((name) => (ruleNames as readonly string[]).includes(name));
  const bound = [...names.filter((name) => invariantPattern.test(name)), ...rules];
  const log: ControlEntry[] = [];
  const report = await simulate({
    seed,
    schedule,
    knobs: { ...calm(hours), ...(knobs as Partial<Knobs>), ...options.knobs, hours },
    restHours: restHours ?? 12,
    ...(options.onTrace && { onTrace: options.onTrace }),
    ...(options.keepTrace && { keepTrace: options.keepTrace }),
    ...(options.variant && { variant: options.variant }),
    judge(world, history) {
      log.push(...[...history.entries.values()].map(({ entry }) => entry).sort((a, b) => a.epoch - b.epoch));
      for (const { rule, sentence } of brokenRules(world, history, rules)) world.record.violated(rule, sentence);
      for (const point of reach)
        if (!world.record.reached.has(point)) world.record.violated('reach', `never came to: ${point}`);
      const fenced = failoversOf(log);
      if (failovers !== undefined && fenced !== failovers)
        world.record.violated('failovers', `a machine failed over ${fenced} times, and ${failovers} are right`);
      const repeats = repeatsOf(world);
      if (repeatsMax !== undefined && repeats > repeatsMax)
        world.record.violated('repeats', `${repeats} lines were computed again, and ${repeatsMax} are right`);
    },
  });
  return {
    ...report,
    id: scenario.id,
    bound: ['liveness', ...bound],
    notes: names.filter((name) => !bound.includes(name)).map((name) => `not judged: ${name}`),
    epochs: log.map((entry) => describeEntry(entry)),
    log,
  };
}

function scheduleOf(scenario: Scenario, { orders, drills }: z.output<typeof extraSchema>): Disturbance[] {
  const effects = scenario.effects.map((one): Disturbance => {
    const { mode, fromMs } = one;
    if (mode.kind !== 'command') {
      const untilMs = one.untilMs === undefined ? undefined : one.untilMs + leadMs;
      return { kind: 'effect', ...one, fromMs: fromMs + leadMs, untilMs };
    }
    const { from, to, site } = mode.args as { from: Cloud; to: Cloud; site: Cloud };
    // Each console stands in a cloud of its own: the operator asks the one that is to take over.
    return mode.command === 'failover'
      ? order(fromMs, { kind: 'failover', from, to, scope: { kind: 'all' }, mode: 'forced' }, to)
      : order(fromMs, { kind: 'failback', site, step: 'start' }, site === 'aws' ? 'azure' : 'aws');
  });
  const more = orders.map(({ at, command, force, site, replay }) => ({
    ...order(at, command as never, site),
    force: force as never[],
    replay,
  }));
  const rehearsed = drills.map(
    ({ at, drill, from, site, dies }): Disturbance => ({
      kind: 'drill',
      fromMs: at + leadMs,
      drill,
      from,
      at: site,
      ...(dies !== undefined && { diesAfterMs: dies - at }),
    }),
  );
  return [...effects, ...more, ...rehearsed].sort((a, b) => a.fromMs - b.fromMs);
}

function order(fromMs: number, command: Extract<Disturbance, { kind: 'order' }>['command'], at: Cloud) {
  return { kind: 'order' as const, fromMs: fromMs + leadMs, command, force: [], at, replay: false };
}

/** Nothing odd but what the scenario says. */
function calm(hours: number): Partial<Knobs> {
  return {
    tickMs: Math.min(300_000, Math.max(10_000, Math.round((hours * hourMs) / ticksWanted / 1000) * 1000)),
    failover: 'automatic',
    intake: 'strict',
    skewMs: { aws: 0, azure: 0, outside: 0 },
    batches: Math.min(16, 6 + Math.round(hours / 4)),
    linesMax: 20,
    chunkLines: 5,
    embeddings: 0.2,
    poison: 0,
    cancels: 0,
    deletions: 0,
    twice: 0.2,
    modelP50Ms: 2_000,
    modelConcurrency: 100,
    malformed: 0,
    duplicates: 0,
    lostLeases: 0,
    conflicts: 0,
    killers: 0,
    torn: 0,
    laterVersions: 0,
    replaced: 'none',
    depthLagMs: 15_000,
    workersMax: 4,
    appInstances: 2,
    canaries: true,
    observer: true,
  };
}

function failoversOf(log: readonly ControlEntry[]): number {
  return log.filter(
    (entry, i) =>
      entry.actor.startsWith('monitor/') &&
      Object.entries(entry.sites).some(
        ([id, { state }]) => state === 'fenced' && log[i - 1]?.sites[id]?.state !== 'fenced',
      ),
  ).length;
}

function describeEntry({ epoch, actor, sites, frozen, moves }: ControlEntry): string {
  const states = Object.entries(sites).map(
    ([id, { state, weight }]) => `${id}=${state}${state === 'active' ? weight : ''}`,
  );
  return `[${epoch} ${actor.split(':')[0]} ${states.join(' ')}${frozen ? ' frozen' : ''}${moves.length > 0 ? ` moves ${moves.length}` : ''}]`;
}
