import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Problem } from '../../local/simulator/yaml-file.ts';
import type { DrillReport } from '../../shared/drill/report.ts';
import type { TurnCore } from '../../shared/drill/turns.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type DrillFile, readDrillFile } from '../drill/files.ts';
import { openStores, type StoresConfig, storesConfig, withStores } from '../drill/open.ts';
import { entryLine, historyLines, reportLines } from '../drill/show.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { pause } from '../pause.ts';
import { table, text } from '../text.ts';

/** Rehearsals: run, judged on the data, and undone whatever happens. */
export function addDrill(maker: CommandMaker): void {
  const group = maker.group('drill', 'rehearse outages, and judge them on the data of both clouds');

  const validate = group.add('validate <files...>', 'explain every mistake in drill files, with line and rule', [
    'holdfast drill validate examples/drills/*.yaml',
  ]);
  group.action(validate, ([files]) => ({ files: [files ?? []].flat() }), runValidate);

  const run = group.add('run <file>', 'run a drill; exit code 0 only if every objective is met', [
    'holdfast drill run examples/drills/shadow.yaml --reason "before the release"',
    'holdfast drill run examples/drills/aws-dark.yaml --out drills/',
    'holdfast drill run drill.yaml --config holdfast.config.yaml --json',
  ]);
  withStores(run)
    .option('--reason <text>', 'why; it stands in the report', 'run by hand')
    .option('--out <dir>', 'write the report there: JSON, JUnit XML, HTML');
  group.action(run, runConfig, runRun);

  const list = group.add('list', 'show what ran, and what runs', ['holdfast drill list --json']);
  group.action(withStores(list), (_, flags) => ({ stores: storesConfig(flags) }), runList);

  const stop = group.add('stop [id]', 'end a drill and undo it (default: the one that runs)', [
    'holdfast drill stop --reason "a customer calls"',
  ]);
  withStores(stop).option('--reason <text>', 'why; it stands in the report', 'stopped by on-call');
  group.action(
    stop,
    ([id], flags, env) => ({ id, stores: storesConfig(flags), reason: flags.reason as string, actor: actorOf(env) }),
    runStop,
  );

  const report = group.add('report <id>', 'show what a drill came to, or write it', [
    'holdfast drill report aws-goes-dark-20261125t040000 --out drills/',
    'holdfast drill report aws-goes-dark-20261125t040000 --json',
  ]);
  withStores(report).option('--out <dir>', 'write the report there: JSON, JUnit XML, HTML');
  group.action(
    report,
    ([id], flags) => ({ id: id!, stores: storesConfig(flags), out: flags.out as string | undefined }),
    runReport,
  );

  const history = group.add('history', 'RTO and RPO of every drill, over time', [
    'holdfast drill history --html drills.html',
  ]);
  withStores(history).option('--html <file>', 'write it there, as one page with a plot');
  group.action(
    history,
    (_, flags) => ({ stores: storesConfig(flags), html: flags.html as string | undefined }),
    runHistory,
  );
}

async function runValidate({ files }: { files: string[] }, { print }: Context): Promise<ExitCode> {
  const { InputFileError } = await import('../../local/simulator/yaml-file.ts');
  const results: {
    file: string;
    ok: boolean;
    title: string | null;
    kind: string | null;
    problems: readonly Problem[];
  }[] = [];
  for (const file of files) {
    try {
      const { drill } = await readDrillFile(file);
      results.push({ file, ok: true, title: drill.title, kind: drill.holdfast.kind, problems: [] });
    } catch (error) {
      if (!(error instanceof InputFileError)) throw error;
      results.push({ file, ok: false, title: null, kind: null, problems: error.problems });
    }
  }
  print.result({ files: results }, () =>
    results.flatMap(({ file, ok, title, kind, problems }) =>
      ok
        ? [text`${print.styles.green('✓')} ${file}: ${title} (${kind})`]
        : problems.map(({ line, key, value, rule }) => {
            const what = [key, value, rule].filter((part) => part !== undefined && part !== '').join(': ');
            return text`${print.styles.red('✗')} ${file}:${line}: ${what}`;
          }),
    ),
  );
  return results.every(({ ok }) => ok) ? exitCodes.ok : exitCodes.usage;
}

interface RunConfig {
  file: string;
  stores: StoresConfig;
  reason: string;
  out: string | undefined;
  actor: string;
}

function runConfig([file]: string[], flags: Flags, env: Io['env']): RunConfig {
  return { file: file!, stores: storesConfig(flags), reason: flags.reason, out: flags.out, actor: actorOf(env) };
}

/** Who sits here, for the log. */
function actorOf(env: Io['env']): string {
  const name = env.HOLDFAST_ACTOR || env.GITHUB_ACTOR || userInfo().username;
  return `operator:${name.slice(0, 100)}`;
}

async function runRun({ file, stores, reason, out, actor }: RunConfig, { io, print }: Context): Promise<ExitCode> {
  const { drill, source }: DrillFile = await readDrillFile(file);
  const [{ startDrill }, { stamp }, { slugOf }] = await Promise.all([
    import('../../shared/drill/start.ts'),
    import('../../shared/drill/due.ts'),
    import('../../shared/drill/file.ts'),
  ]);
  const { core, deps, close } = await openStores(stores, io.env, drill.holdfast.site);
  try {
    let startedAt = core.clock.now();
    const runner = core.ids.uuid();
    const id = `${slugOf(drill.title)}-${stamp(startedAt)}-${runner.slice(0, 4)}`;
    const started = await startDrill(
      core,
      { ...deps, runner, onEntry: (entry) => print.note(entryLine(entry, startedAt, print.noteStyles)) },
      { id, drill, file: source, actor, reason, slot: null },
    );
    if (started.status === 'done-before') throw new CliError(exitCodes.no, text`${id} was started before`);
    if (started.status === 'refused') {
      const { objections } = started;
      print.result({ status: 'refused', drill: id, objections }, () =>
        objections.map(
          ({ rule, sentence }) => text`${print.styles.red('refused')}  ${print.styles.bold(rule)}: ${sentence}`,
        ),
      );
      return exitCodes.no;
    }
    startedAt = started.run.state.startedAt;
    const end = await started.run.run({ stop: () => (io.signal.aborted ? `${actor} interrupted it` : undefined) });
    if (end.status !== 'ended')
      throw new CliError(exitCodes.no, text`the lease ran out: somebody else has undone the drill, or will`, [
        text`holdfast drill report ${id}`,
      ]);
    await told(end.report, end.sha256, out, print);
    return end.report.verdict.outcome === 'passed' ? exitCodes.ok : exitCodes.no;
  } finally {
    await close();
  }
}

async function told(
  report: DrillReport,
  sha256: string,
  out: string | undefined,
  print: Context['print'],
): Promise<void> {
  if (out !== undefined) {
    const [{ junitOf }, { drillHtml }] = await Promise.all([
      import('../../shared/drill/report.ts'),
      import('../../shared/report/drill.ts'),
    ]);
    await mkdir(out, { recursive: true });
    const at = (ending: string) => join(out, `${report.drill}.${ending}`);
    await writeFile(at('json'), `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(at('xml'), junitOf(report));
    await writeFile(at('html'), drillHtml(report, sha256));
    print.note(text`written: ${at('json')}, ${at('xml')}, ${at('html')}`);
  }
  print.result({ ...report, sha256 }, () => reportLines(report, sha256, print.styles));
}

async function runList({ stores }: { stores: StoresConfig }, { io, print }: Context): Promise<ExitCode> {
  const [{ learnTurns }, { viewDrill, readReport }] = await Promise.all([
    import('../../shared/drill/turns.ts'),
    import('../../shared/drill/read.ts'),
  ]);
  const { core, close } = await openStores(stores, io.env);
  try {
    const drills: Record<'drill' | 'status' | 'at' | 'actor' | 'reason' | 'runner', string>[] = [];
    for (const { turn } of await learnTurns(core)) {
      const view = await viewDrill(core, turn);
      const report = view.report === undefined ? undefined : await readReport(core, turn.drill, view.report);
      const isOver = core.clock.now() > view.until;
      const status = report?.verdict.outcome ?? (isOver ? 'lease over: to be undone' : 'running');
      const { drill, actor, reason, runner } = turn;
      drills.push({ drill, status, at: new Date(turn.at).toISOString(), actor, reason, runner });
    }
    print.result({ drills }, () =>
      drills.length === 0
        ? [text`no drill was ever started`]
        : table(drills.map(({ at, drill, status, actor, reason }) => [at, drill, status, actor, reason])),
    );
    return exitCodes.ok;
  } finally {
    await close();
  }
}

interface StopConfig {
  id: string | undefined;
  stores: StoresConfig;
  reason: string;
  actor: string;
}

/** Asks its runner to end the drill; does it itself where the runner is not heard any more. */
async function runStop({ id, stores, reason, actor }: StopConfig, { io, print }: Context): Promise<ExitCode> {
  const [{ learnTurns }, { viewDrill, readReport }, { stopDrill, tendDrills }] = await Promise.all([
    import('../../shared/drill/turns.ts'),
    import('../../shared/drill/read.ts'),
    import('../../shared/drill/start.ts'),
  ]);
  const { core, deps, close } = await openStores(stores, io.env);
  try {
    const turns = await learnTurns(core);
    const last = turns.at(-1)?.turn;
    const view = last === undefined ? undefined : await viewDrill(core, last);
    if (last === undefined || view?.report !== undefined || (id !== undefined && id !== last.drill))
      throw new CliError(exitCodes.no, text`${id ?? 'no drill'} ${id === undefined ? 'is running' : 'does not run'}`);
    await stopDrill(core, last.drill, { actor, reason });
    print.note(text`${last.drill} is told to stop; it undoes what it did`);
    for (;;) {
      const now = await viewDrill(core, last);
      if (now.report !== undefined) {
        const report = await readReport(core, last.drill, now.report);
        if (report !== undefined) await told(report, now.report, undefined, print);
        return exitCodes.ok;
      }
      if (core.clock.now() > now.until) {
        print.note(text`its runner is not heard any more: undone from here`);
        await tendDrills(core, { ...deps, runner: core.ids.uuid() }, [], Number.POSITIVE_INFINITY);
        continue;
      }
      await pause(1_000, io.signal);
    }
  } finally {
    await close();
  }
}

async function readEnded(core: TurnCore, id?: string): Promise<{ report: DrillReport; sha256: string }[]> {
  const [{ learnTurns }, { viewDrill, readReport }] = await Promise.all([
    import('../../shared/drill/turns.ts'),
    import('../../shared/drill/read.ts'),
  ]);
  const ended = [];
  for (const { turn } of await learnTurns(core)) {
    if (id !== undefined && turn.drill !== id) continue;
    const { report: sha256 } = await viewDrill(core, turn);
    const report = sha256 === undefined ? undefined : await readReport(core, turn.drill, sha256);
    if (report !== undefined) ended.push({ report, sha256: sha256! });
  }
  return ended;
}

async function runReport(
  { id, stores, out }: { id: string; stores: StoresConfig; out: string | undefined },
  { io, print }: Context,
): Promise<ExitCode> {
  const { core, close } = await openStores(stores, io.env);
  try {
    const [found] = await readEnded(core, id);
    if (found === undefined)
      throw new CliError(exitCodes.no, text`${id}: no such drill has ended`, [text`holdfast drill list`]);
    await told(found.report, found.sha256, out, print);
    return exitCodes.ok;
  } finally {
    await close();
  }
}

async function runHistory(
  { stores, html }: { stores: StoresConfig; html: string | undefined },
  { io, print }: Context,
): Promise<ExitCode> {
  const { core, close } = await openStores(stores, io.env);
  try {
    const reports = (await readEnded(core)).map(({ report }) => report);
    if (html !== undefined) {
      const { historyHtml } = await import('../../shared/report/drill.ts');
      await writeFile(html, historyHtml(reports));
      print.note(text`written: ${html}`);
    }
    const rows = reports.map(({ drill, drillKind, startedAt, verdict }) => ({
      drill,
      kind: drillKind,
      at: new Date(startedAt).toISOString(),
      outcome: verdict.outcome,
      rto_ms: verdict.recovery.firstResult,
      rpo_ms: verdict.rpoMs,
      lost: verdict.lost.length,
      published_twice: verdict.publishedTwice.length,
      computed_twice: verdict.computedTwice.lines,
    }));
    print.result({ drills: rows }, () => historyLines(reports, print.styles));
    return exitCodes.ok;
  } finally {
    await close();
  }
}
