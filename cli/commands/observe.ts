import { InvalidArgumentError, Option } from 'commander';
import type { Observation, Verdict } from '../../shared/health/types.ts';
import { observerPattern, sitePattern } from '../../shared/journal/keys.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import { jsonLine, type Style, type Styles, type Text, text } from '../text.ts';

export interface ObserveConfig {
  /** Name under which it writes what it sees; no site's. */
  name: string;
  file: string;
  /** Ends as soon as every site is known. */
  once: boolean;
}

export function addObserve(maker: CommandMaker): void {
  const command = maker.add(
    'observe',
    'watch both clouds from a third place, until Ctrl-C: its word breaks ties, it moves nothing',
    ['holdfast observe --config holdfast.config.yaml', 'holdfast observe --once --json'],
  );
  command
    .option(
      '--config <file>',
      'the deployed configuration; the environment holds what it names',
      'holdfast.config.yaml',
    )
    .addOption(new Option('--name <name>', 'name of this observer').argParser(observerName).default('observer'))
    .option('--once', 'end when both clouds are known; exit code 1 if one of them is not healthy');
  maker.action(
    command,
    (_: string[], flags: Flags): ObserveConfig => ({ name: flags.name, file: flags.config, once: flags.once === true }),
    observe,
  );
}

function observerName(value: string): string {
  if (!observerPattern.test(value)) throw new InvalidArgumentError('It must be 1 to 63 of a-z, 0-9 and hyphen.');
  if (sitePattern.test(value) && (value === 'aws' || value === 'azure'))
    throw new InvalidArgumentError('That is the name of a site, whose own monitor speaks under it.');
  return value;
}

async function observe({ name, file, once }: ObserveConfig, { io, print }: Context): Promise<ExitCode> {
  // Loaded here: every other command would pay for it at its start.
  const [{ deployedModels, wireDeployment }, { observeDeps }, { runObserver }] = await Promise.all([
    import('../wire.ts'),
    import('../../runtime/health.ts'),
    import('../../shared/health/monitor.ts'),
  ]);
  const { core, config, close } = await wireDeployment(file, io.env);
  const done = new AbortController();
  let last: Observation | undefined;
  try {
    print.note(
      text`observing ${Object.keys(config.sites).join(' and ')} as ${name}, every ${core.settings.tickMs / 1000} s`,
    );
    await runObserver(core, observeDeps(config, name, null, deployedModels), {
      signal: AbortSignal.any([io.signal, done.signal]),
      act: async (seen) => {
        const own = seen.find(({ observation }) => observation.observer === name)!.observation;
        for (const verdict of changed(last, own))
          io.stdout.write(`${print.isJson ? jsonLine(verdict) : verdictLine(verdict, print.styles)}\n`);
        last = own;
        if (once && own.verdicts.every(({ health }) => health !== 'unknown')) done.abort();
      },
    });
  } finally {
    await close();
  }
  const isWell = last?.verdicts.every(({ health }) => health === 'healthy') ?? false;
  return once && !isWell ? exitCodes.no : exitCodes.ok;
}

/** Verdicts that say something else than the time before. */
function changed(before: Observation | undefined, { verdicts }: Observation): Verdict[] {
  const gist = ({ health, causes, models }: Verdict) => JSON.stringify([health, causes, models]);
  return verdicts.filter((verdict) => {
    const was = before?.verdicts.find(({ site }) => site === verdict.site);
    return was === undefined || gist(was) !== gist(verdict);
  });
}

function verdictLine({ site, health, causes, models, at, evidence }: Verdict, styles: Styles): Text {
  const colors: Record<Verdict['health'], Style> = {
    healthy: styles.green,
    degraded: styles.yellow,
    down: styles.red,
    unknown: styles.yellow,
  };
  const why = [...causes, ...models].join(', ');
  const shown = health === 'healthy' || evidence.length === 0 ? '' : `; ${evidence[0]}`;
  const time = styles.dim(new Date(at).toISOString());
  return text`${time}  ${styles.bold(site)} ${colors[health](health)} ${why}${shown}`;
}
