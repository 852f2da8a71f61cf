import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Scenario } from '../../local/simulator/scenario/index.ts';
import type { Context, Flags } from '../command.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import { table, text } from '../text.ts';

/** What an outage would cost, for a trace and limits of one's own. */
export interface PlanConfig {
  /** File of the form `dr-scenario/1`. */
  plan: string;
  /** Which scenario of it; `undefined`: it holds one only. */
  outage: string | undefined;
  trace: string;
  limits: string | undefined;
  out: string | undefined;
}

export const planExamples = [
  'holdfast simulate --plan examples/outages/aws-dark.yaml --trace jobs.csv --limits examples/outages/limits.yaml --out report.html',
];

/** Adds the flags of `--plan` to `holdfast simulate`. */
export function addPlanOptions(command: Command): Command {
  return command
    .option('--plan <file>', 'what the outage of this file would cost; needs --trace')
    .option('--outage <id>', 'which outage of that file, where it holds several')
    .option(
      '--trace [file]',
      'of --plan: arrivals as CSV, TIMESTAMP,ContextTokens,GeneratedTokens; else: print everything that happens, on stderr',
    )
    .option('--limits <file>', 'quotas, prices, batches, profile of your deployment (YAML); each has a default')
    .option('--out <file>', 'write the report there, as one HTML page with plots');
}

/** The flags as a configuration; `undefined` where no plan was asked for. */
export function planConfigOf(flags: Flags): PlanConfig | undefined {
  const { plan, outage, trace, limits, out } = flags;
  if (plan === undefined) {
    const stray = Object.entries({ outage, limits, out }).find(([, value]) => value !== undefined);
    if (stray !== undefined) throw new CliError(exitCodes.usage, text`--${stray[0]} belongs to --plan`);
    return undefined;
  }
  if (typeof trace !== 'string')
    throw new CliError(exitCodes.usage, text`--plan needs --trace FILE: the arrivals to plan for`);
  return { plan, outage, trace, limits, out };
}

/** Plays the trace through both clouds, with and without the outage, and tells what it comes to. */
export async function simulatePlan(config: PlanConfig, { print }: Context): Promise<ExitCode> {
  const [{ parseScenarios }, product, { comparison, costs, reportHtml }] = await Promise.all([
    import('../../local/simulator/scenario/index.ts'),
    import('../../local/simulator/plan/index.ts'),
    import('../../local/simulator/report/index.ts'),
  ]);
  const { scenarios, notices } = parseScenarios(await read('--plan', config.plan), config.plan);
  for (const { line, sentence } of notices) print.warn(text`${config.plan}:${line}: ${sentence}`);
  const scenario = choose(scenarios, config);
  const limits =
    config.limits === undefined
      ? product.defaultLimits()
      : product.parseLimits(await read('--limits', config.limits), config.limits);
  const trace = product.parseTrace(await read('--trace', config.trace), config.trace);
  const plan = product.planOutage(scenario, trace, limits, (variant) =>
    print.note(text`${product.variantNames[variant]} …`),
  );
  if (config.out !== undefined) await write(config.out, reportHtml(plan));
  print.result({ ...product.planSummary(plan), report: config.out ?? null }, () => [
    text``,
    ...product.findings(plan).map((sentence, i) => (i === 0 ? print.styles.bold(sentence) : text`${sentence}`)),
    text``,
    ...right(comparison(plan)),
    text``,
    ...right(costs(plan)),
    ...(plan.unmodelled.length > 0 ? [text``, text`without effect in this model: ${plan.unmodelled.join(', ')}`] : []),
    ...(config.out === undefined ? [] : [text``, text`report: ${config.out}`]),
  ]);
  return exitCodes.ok;
}

function choose(scenarios: readonly Scenario[], { plan, outage }: PlanConfig): Scenario {
  const ids = scenarios.map(({ id }) => id).join(', ');
  const found = outage === undefined ? scenarios : scenarios.filter(({ id }) => id === outage);
  if (found.length === 1) return found[0]!;
  if (outage !== undefined)
    throw new CliError(exitCodes.usage, text`--outage: ${plan} holds no '${outage}'; it holds ${ids}`);
  throw new CliError(
    exitCodes.usage,
    text`--plan: ${plan} holds ${scenarios.length} outages; say which by --outage: ${ids}`,
  );
}

/** The first column to the left, the others to the right. */
function right(rows: readonly (readonly string[])[]) {
  const widths = rows[0]!.map((_cell, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return table(rows.map((row) => row.map((cell, i) => (i === 0 ? cell : cell.padStart(widths[i]!)))));
}

async function read(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CliError(
      exitCodes.usage,
      text`${flag}: '${path}' cannot be read (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}

async function write(path: string, content: string): Promise<void> {
  try {
    await writeFile(path, content);
  } catch (error) {
    throw new CliError(
      exitCodes.usage,
      text`--out: '${path}' cannot be written (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}
