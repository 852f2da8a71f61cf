import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CampaignOptions, CampaignReport, FailedSeed } from '../../local/simulator/campaign.ts';
import type { Knobs } from '../../local/simulator/knobs.ts';
import type { RunReport } from '../../local/simulator/run.ts';
import type { ScenarioReport } from '../../local/simulator/scenario-run.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import { joined, type Text, text } from '../text.ts';
import { simulateCrashPoints } from './simulate-crash-points.ts';
import { addPlanOptions, planConfigOf, planExamples, simulatePlan } from './simulate-plan.ts';
import { simulateRegisters } from './simulate-registers.ts';

export interface SimulateConfig {
  first: number;
  seeds: number;
  hours: number | undefined;
  /** Positions of the drawn disturbances that happen; `undefined`: all. */
  keep: number[] | undefined;
  /** Name of a scenario of ours, or a file. */
  scenario: string | undefined;
  /** Print everything that happens. */
  trace: boolean;
  requiresReach: boolean;
  /** Processes among which the seeds are shared. */
  processes: number;
}

/** Seeds that a run without a word about them takes. */
const seedsDefault = 20;
/** From so many seeds on, what was never reached counts as a failure. */
const reachSeeds = 200;
const scenarioFolder = join(import.meta.dirname, '..', '..', 'test', 'simulation', 'scenarios');

export function addSimulate(maker: CommandMaker): void {
  const command = maker
    .add('simulate', 'run both clouds in virtual time, under faults drawn from a seed, and judge every promise', [
      'holdfast simulate --seeds 300',
      'holdfast simulate --seed 4711 --trace',
      'holdfast simulate --scenario ../shared/scenarios.yaml',
      'holdfast simulate --seed 1 --seeds 10000 --hours 24 --processes 4 --json',
      'holdfast simulate --registers',
      'holdfast simulate --crash-points',
      ...planExamples,
    ])
    .option('--seed <number>', 'first seed', '1')
    .option('--seeds <count>', 'how many seeds, one after the other (default: 20, or 1 where --seed is given)')
    .option(
      '--hours <hours>',
      'hours during which faults strike, before the world is left to come to rest (default: 1)',
    )
    .option('--processes <count>', 'run the seeds in so many processes at once, each on a core of its own', '1')
    .option('--keep <positions>', 'of the drawn faults only these happen, as a failing run prints them: 0,3,4')
    .option('--scenario <name|file>', 'outages of a file of the form dr-scenario/1, or one of ours by name')
    .option('--registers', 'search the registers by themselves, every schedule within bounds')
    .option('--crash-points [every]', 'let something die at every call, or at one in so many, of three stories')
    .option('--require-reach', `fail if a point was never reached (always from ${reachSeeds} seeds on)`);
  addPlanOptions(command);
  maker.action(
    command,
    (_args, flags) => ({
      plan: planConfigOf(flags),
      registers: flags.registers === true,
      crashPoints: crashPointsOf(flags.crashPoints),
      seeds: resolve(flags),
    }),
    ({ plan, registers, crashPoints, seeds }, context) => {
      if (plan !== undefined) return simulatePlan(plan, context);
      if (crashPoints !== undefined) return simulateCrashPoints(crashPoints, context);
      return registers ? simulateRegisters(context) : simulate(seeds, context);
    },
  );
}

function resolve(flags: Flags): SimulateConfig {
  const isOne = flags.seeds === undefined && flags.seed !== '1';
  return {
    first: whole('--seed', flags.seed, 0, Number.MAX_SAFE_INTEGER - 1_000_000),
    seeds: flags.seeds === undefined ? (isOne ? 1 : seedsDefault) : whole('--seeds', flags.seeds, 1, 1_000_000),
    hours: flags.hours === undefined ? undefined : hoursOf(flags.hours),
    keep:
      flags.keep === undefined
        ? undefined
        : String(flags.keep)
            .split(',')
            .filter((one) => one !== '')
            .map((one) => whole('--keep', one, 0, 100_000)),
    scenario: flags.scenario,
    trace: flags.trace === true,
    requiresReach: flags.requireReach === true,
    processes: processesOf(flags),
  };
}

function processesOf(flags: Flags): number {
  const count = whole('--processes', flags.processes, 1, 256);
  const alone = ['trace', 'scenario', 'registers', 'crashPoints', 'plan'].find((flag) => flags[flag] !== undefined);
  if (count > 1 && alone !== undefined)
    throw new CliError(
      exitCodes.usage,
      text`--processes: '${count}' must be 1 with --${alone === 'crashPoints' ? 'crash-points' : alone}`,
    );
  return count;
}

/** One point in so many; `undefined`: not asked for. */
function crashPointsOf(given: unknown): number | undefined {
  if (given === undefined) return undefined;
  return given === true ? 1 : whole('--crash-points', String(given), 1, 100_000);
}

function whole(flag: string, given: string, min: number, max: number): number {
  const value = Number(given);
  if (/^\d+$/.test(given) && value >= min && value <= max) return value;
  throw new CliError(exitCodes.usage, text`${flag}: '${given}' must be a whole number from ${min} to ${max}`);
}

function hoursOf(given: string): number {
  const value = Number(given);
  if (/^\d+(\.\d+)?$/.test(given) && value >= 0.1 && value <= 10_000) return value;
  throw new CliError(exitCodes.usage, text`--hours: '${given}' must be a number from 0.1 to 10000`);
}

async function simulate(config: SimulateConfig, context: Context): Promise<ExitCode> {
  return config.scenario === undefined ? runSeeds(config, context) : runScenarios(config, context);
}

async function runSeeds(config: SimulateConfig, context: Context): Promise<ExitCode> {
  const count = Math.min(config.processes, config.seeds);
  if (count === 1) return runSeedsWith(undefined, config, context);
  const { seedsApart } = await import('../../local/simulator/seeds-apart.ts');
  const apart = Array.from({ length: count }, seedsApart);
  try {
    return await runSeedsWith(
      apart.map((one) => (run) => one.ask(run)),
      config,
      context,
    );
  } finally {
    for (const one of apart) one.end();
  }
}

async function runSeedsWith(
  simulators: CampaignOptions['simulators'],
  config: SimulateConfig,
  { print, io }: Context,
): Promise<ExitCode> {
  const { runCampaign } = await import('../../local/simulator/campaign.ts');
  const { drawRun } = await import('../../local/simulator/run.ts');
  const { describe } = await import('../../local/simulator/schedule.ts');
  const { first, seeds, hours, keep, trace } = config;
  const knobs: Partial<Knobs> = hours === undefined ? {} : { hours };
  print.say(text`seeds ${first} to ${first + seeds - 1}${hours === undefined ? '' : `, ${hours} h of faults each`}`);
  if (seeds === 1) {
    const drawn = drawRun({ seed: String(first), knobs, ...(keep !== undefined && { keep }) });
    requireDrawn(keep, drawRun({ seed: String(first), knobs }).schedule.length, first);
    print.say(text`knobs ${JSON.stringify(drawn.knobs)}`);
    for (const [i, one] of drawn.schedule.entries()) print.say(text`fault ${i}: ${describe(one)}`);
  }
  const startedAt = performance.now();
  let toldAt = startedAt;
  const report = await runCampaign({
    first,
    seeds,
    knobs,
    ...(keep !== undefined && { keep }),
    signal: io.signal,
    ...(simulators && { simulators }),
    ...(trace && { onTrace: (line) => print.note(text`${line}`) }),
    onRun(run, done) {
      if (run.violations.length > 0) print.note(text`seed ${run.seed}: ${run.violations[0]!.sentence}`);
      if (performance.now() - toldAt < 10_000 || done === seeds) return;
      toldAt = performance.now();
      print.note(text`${done} of ${seeds} seeds, ${perMinute(done, startedAt)} seeds a minute`);
    },
  });
  const spentMs = performance.now() - startedAt;
  const isReachRequired = config.requiresReach || (seeds >= reachSeeds && keep === undefined);
  const isGood = report.failures.length === 0 && !(isReachRequired && report.unreached.length > 0);
  for (const failed of report.failures) for (const line of failureLines(failed, config, describe)) print.note(line);
  print.result(totalsOf(report, spentMs, isGood), () => reportLines(report, spentMs, isReachRequired));
  return isGood ? exitCodes.ok : exitCodes.no;
}

function requireDrawn(keep: readonly number[] | undefined, count: number, seed: number): void {
  const beyond = keep?.find((at) => at >= count);
  if (beyond !== undefined)
    throw new CliError(exitCodes.usage, text`--keep: ${beyond} names no fault: seed ${seed} draws ${count}, from 0 on`);
}

function totalsOf({ totals, failures, reached, unreached, hash }: CampaignReport, spentMs: number, isGood: boolean) {
  return {
    ok: isGood,
    ...totals,
    virtualHours: Math.round(totals.virtualHours * 10) / 10,
    skippedHours: Math.round(totals.skippedHours * 10) / 10,
    hoursPerMinute: Math.round(totals.virtualHours / (spentMs / 60_000)),
    runHoursPerMinute: Math.round((totals.virtualHours - totals.skippedHours) / (spentMs / 60_000)),
    failedSeeds: failures.map(({ report }) => report.seed),
    reached,
    unreached,
    ...(totals.seeds === 1 && { hash }),
  };
}

function failureLines(
  { report, keep }: FailedSeed,
  { hours, keep: given }: SimulateConfig,
  describe: (one: RunReport['schedule'][number]) => string,
): Text[] {
  const replay = `holdfast simulate --seed ${report.seed} --seeds 1${hours === undefined ? '' : ` --hours ${hours}`}`;
  return [
    text``,
    text`seed ${report.seed} broke ${[...new Set(report.violations.map(({ invariant }) => invariant))].join(', ')}:`,
    ...report.violations.slice(0, 10).map(({ invariant, sentence }) => text`  ${invariant}  ${sentence}`),
    text`it takes ${keep.length} of ${report.schedule.length} faults:`,
    ...keep.map((at, i) => text`  ${at}: ${describe(report.schedule[given === undefined ? at : i]!)}`),
    text`replay:  ${replay}`,
    text`shrunk:  ${replay} --keep ${keep.join(',')}`,
  ];
}

function reportLines({ totals, reached, unreached, hash }: CampaignReport, spentMs: number, isReachRequired: boolean) {
  const {
    seeds,
    failed,
    virtualHours,
    skippedHours,
    batches,
    lines,
    repeats,
    faults,
    struckCalls,
    calls,
    processes,
    epochs,
  } = totals;
  const points = Object.entries(reached).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    text``,
    text`${seeds} seeds, ${failed} failed; ${virtualHours.toFixed(1)} virtual hours, ${skippedHours.toFixed(1)} of them quiet and left out; ${Math.round(virtualHours / (spentMs / 60_000))} an actual minute, ${Math.round((virtualHours - skippedHours) / (spentMs / 60_000))} of them run tick by tick`,
    text`${batches} batches, ${lines} lines, ${repeats} lines computed again; ${processes} processes, ${epochs} control entries`,
    text`${faults} faults struck ${struckCalls} of ${calls} calls`,
    text`reached: ${joined(
      points.map(([point, count]) => text`${point} ${count}`),
      ', ',
    )}`,
    ...(unreached.length > 0
      ? [text`never reached${isReachRequired ? '' : ' (too few seeds to ask for it)'}: ${unreached.join(', ')}`]
      : []),
    ...(seeds === 1 ? [text`trace ${hash}`] : []),
  ];
}

const perMinute = (done: number, startedAt: number) => Math.round(done / ((performance.now() - startedAt) / 60_000));

async function runScenarios({ scenario, first, seeds, trace }: SimulateConfig, { print }: Context): Promise<ExitCode> {
  const [{ parseScenarios }, { simulateScenario }] = await Promise.all([
    import('../../local/simulator/scenario/index.ts'),
    import('../../local/simulator/scenario-run.ts'),
  ]);
  const { source, name } = await readScenario(scenario!);
  const { scenarios, notices } = parseScenarios(source, name);
  for (const { line, sentence } of notices) print.warn(text`${name}:${line}: ${sentence}`);
  const reports: ScenarioReport[] = [];
  for (const one of scenarios)
    for (let i = 0; i < (seeds === seedsDefault ? 1 : seeds); i++) {
      const report = await simulateScenario(one, {
        seed: String(first + i),
        ...(trace && { onTrace: (line: string) => print.note(text`${line}`) }),
      });
      reports.push(report);
      print.say(scenarioLine(report));
      for (const { invariant, sentence } of report.violations.slice(0, 10))
        print.say(text`    ${invariant}  ${sentence}`);
      for (const note of report.notes) print.say(text`    ${note}`);
    }
  const failed = reports.filter(({ violations }) => violations.length > 0);
  const total = (of: (report: ScenarioReport) => number) => reports.reduce((sum, one) => sum + of(one), 0);
  const totals = {
    ok: failed.length === 0,
    scenarios: reports.length,
    failed: failed.map(({ id }) => id),
    virtualHours: Math.round(total(({ totals: { virtualHours } }) => virtualHours) * 10) / 10,
    batches: total((one) => one.totals.batches),
    lines: total((one) => one.totals.lines),
    struckCalls: total((one) => one.totals.struckCalls),
  };
  print.result(totals, () => [
    text``,
    text`${totals.scenarios} scenarios, ${failed.length} failed; ${totals.virtualHours} virtual hours, ${totals.lines} lines`,
  ]);
  return failed.length === 0 ? exitCodes.ok : exitCodes.no;
}

function scenarioLine({ id, seed, bound, violations, epochs, totals, hash }: ScenarioReport): Text {
  const verdict = violations.length === 0 ? 'held' : 'BROKEN';
  return text`${id} (seed ${seed}): ${verdict}; ${bound.join(' ')}; ${totals.virtualHours.toFixed(1)} h, ${totals.lines} lines, ${totals.struckCalls} calls struck, control ${epochs.join(' ')}; trace ${hash}`;
}

/** A file as named, else one of ours. */
async function readScenario(nameOrFile: string): Promise<{ source: string; name: string }> {
  for (const path of [nameOrFile, join(scenarioFolder, `${nameOrFile}.yaml`)]) {
    const source = await readFile(path, 'utf8').catch(() => undefined);
    if (source !== undefined) return { source, name: path };
  }
  throw new CliError(
    exitCodes.usage,
    text`--scenario: there is no file '${nameOrFile}', and none of ours has that name`,
    [text`Ours are in test/simulation/scenarios; try "holdfast simulate --scenario f01".`],
  );
}
