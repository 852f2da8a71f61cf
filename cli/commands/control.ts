import { randomUUID } from 'node:crypto';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type CommandBody,
  type CommandKind,
  type ControlAnswer,
  HoldfastApiError,
  type HoldfastClient,
} from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { age } from '../describe.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { pause } from '../pause.ts';
import { createProgress, type Track } from '../progress.ts';
import { type Styles, type Text, table, text } from '../text.ts';

/**
 * How long one cloud may take for its word: where every other store swallows calls, four looks and votes end one after
 * the other by their time limit (test/core/control/silence.test.ts).
 */
const commandMs = 45_000;

/** A command to the control log, as the API takes it. */
export interface ControlConfig {
  kind: CommandKind;
  body: CommandBody;
  connection: Connection;
  /** How long a graceful failover, or a drain, is followed. 0: not at all. */
  waitMs: number;
  pollMs: number;
}

/** Everything that changes who may act; all take the same road, and the same flags. */
export function addControl(maker: CommandMaker): void {
  const why = '--reason "storm in the region"';
  const failover = maker.add('failover', 'move the work of one cloud, one model or one batch to the other cloud', [
    `holdfast failover --from aws --to azure ${why} --dry-run`,
    `holdfast failover --from aws --to azure --mode forced ${why}`,
    `holdfast failover --from aws --to azure --scope model=gpt-4o-mini ${why}`,
  ]);
  failover
    .requiredOption('--from <site>', 'who gives up the work')
    .requiredOption('--to <site>', 'who takes it')
    .addOption(
      new Option('--mode <mode>', 'graceful lets the site finish first; default: graceful if it is well').choices([
        'graceful',
        'forced',
      ]),
    )
    .addOption(scopeOption());
  followed(failover);
  add(maker, failover, 'failover', (_, { from, to, mode, scope }) => ({ from, to, ...(mode && { mode }), ...scope }));

  const failback = maker.add('failback <site>', 'let a site that was failed over come back, step by step', [
    'holdfast failback aws --reason "region is well again"',
    'holdfast failback aws --weight 25 --reason "next step"',
    'holdfast failback aws --scope model=gpt-4o-mini --reason "quota was raised"',
  ]);
  failback
    .addOption(new Option('--weight <weight>', 'give it this share, 1 to 100, instead of starting').argParser(weight))
    .addOption(scopeOption());
  add(maker, failback, 'failback', ([site], { weight, scope }) => ({
    site: site!,
    ...(weight !== undefined && { weight }),
    ...scope,
  }));

  const bySite = {
    cordon: 'let a site finish what it has, and give it nothing new',
    uncordon: 'give a cordoned site new work again',
    drain: 'cordon a site, and wait until it has finished',
  } as const;
  for (const kind of ['cordon', 'uncordon', 'drain'] as const) {
    const command = maker.add(`${kind} <site>`, bySite[kind], [`holdfast ${kind} aws --reason "maintenance"`]);
    if (kind === 'drain') followed(command);
    add(maker, command, kind, ([site]) => ({ site: site! }));
  }
  const freezing = {
    freeze: 'let nothing be changed any more, by machine or by hand',
    unfreeze: 'let changes happen again',
  } as const;
  for (const kind of ['freeze', 'unfreeze'] as const)
    add(maker, maker.add(kind, freezing[kind], [`holdfast ${kind} --reason "we investigate"`]), kind, () => ({}));

  const weights = maker.add('weights <site=weight...>', 'set the shares of new batches, 0 to 100', [
    'holdfast weights aws=80 azure=20 --reason "cheaper this month"',
  ]);
  add(maker, weights, 'weights', (args) => ({ weights: weightsOf(args.flat()) }));

  const replaced = maker.add(
    'replace-store <store>',
    'say that a store came back from a backup, or is a new one: it votes again once it knows what the others know',
    [
      'holdfast replace-store aws --reason "bucket restored from last night\'s backup"',
      'holdfast replace-store witness --reason "new bucket"',
    ],
  );
  add(maker, replaced, 'replace-store', ([store]) => ({ store: store! }));
}

function add<K extends CommandKind>(
  maker: CommandMaker,
  command: Command,
  kind: K,
  own: (args: string[], flags: Flags) => Omit<CommandBody<K>, 'reason'>,
): void {
  withConnection(command)
    .requiredOption('--reason <text>', 'why; it stands in the log for whoever comes next')
    .option('--dry-run', 'show what would change and which rules object, and change nothing')
    .addOption(
      new Option('--force <rule>', 'override a rule that objects, by name; may be given again').argParser(
        (rule: string, all: string[] | undefined) => [...(all ?? []), rule],
      ),
    )
    .option('--operation-id <id>', 'the same id again does nothing (default: a new one)')
    .addOption(
      new Option('--expected-epoch <epoch>', 'do nothing if the control log has gone on').argParser(wholeNumber),
    );
  const resolve = (args: string[], flags: Flags, env: Io['env']): ControlConfig => ({
    kind,
    body: {
      ...own(args, flags),
      reason: flags.reason,
      operation_id: flags.operationId ?? randomUUID(),
      ...(flags.dryRun && { dry_run: true }),
      ...(flags.force && { force: flags.force }),
      ...(flags.expectedEpoch !== undefined && { expected_epoch: flags.expectedEpoch }),
    } as CommandBody<K>,
    connection: connectionOf(flags, env),
    waitMs: flags.wait === undefined ? 0 : flags.wait * 1000,
    pollMs: flags.pollMs ?? 2_000,
  });
  maker.action(command, resolve, send);
}

function followed(command: Command): void {
  command
    .addOption(
      new Option('--wait <seconds>', 'follow it until the site has finished; 0: do not')
        .argParser(wholeNumber)
        .default(600),
    )
    .addOption(new Option('--poll-ms <ms>', 'between two looks').argParser(wholeNumber).default(2_000).hideHelp());
}

async function send(config: ControlConfig, context: Context): Promise<ExitCode> {
  const { kind, body, connection } = config;
  const { io, print } = context;
  const client = connect(connection, { answerMs: commandMs });
  let answer = await command(client, kind, body, io.signal);
  if (isBegun(answer)) answer = await follow(client, config, answer, context);
  print.result(answer, () => answerLines(answer, print.styles));
  if (kind === 'failover' && answer.status === 'done') await followRedrive(client, config, context);
  return 'objections' in answer && answer.objections.length > 0 ? exitCodes.no : exitCodes.ok;
}

async function command(
  client: HoldfastClient,
  kind: CommandKind,
  body: CommandBody,
  signal: AbortSignal,
): Promise<ControlAnswer> {
  try {
    return await client.ops.command(kind, body, { signal });
  } catch (error) {
    if (!(error instanceof HoldfastApiError) || error.status !== 409) throw error;
    throw new CliError(exitCodes.no, text`${error.code}: ${error.message}`, [
      text`"holdfast status" shows what is seen, and --dry-run what would change.`,
    ]);
  }
}

/** True for the first half of a graceful failover, and for a drain: the site is cordoned, and finishes. */
function isBegun(answer: ControlAnswer): boolean {
  if (answer.status !== 'done' && answer.status !== 'unchanged') return false;
  const { command, changes } = answer;
  if (command.kind === 'drain') return true;
  const isGraceful = command.kind === 'failover' && command.mode === 'graceful' && command.scope.kind === 'all';
  return isGraceful && changes.some((change) => change.endsWith('→ cordoned'));
}

/**
 * Waits until the cordoned site has finished. A failover is then sent again, and fences what has nothing left; the rule
 * `drained` is what says so. A command that ends here leaves the site cordoned: safe, and told.
 */
async function follow(
  client: HoldfastClient,
  { kind, body, waitMs, pollMs }: ControlConfig,
  begun: ControlAnswer,
  { io, print }: Context,
): Promise<ControlAnswer> {
  const site = 'from' in body ? body.from : 'site' in body ? body.site : '';
  if (waitMs === 0) return begun;
  const until = performance.now() + waitMs;
  let told = '';
  const { expected_epoch: _, ...rest } = body;
  const operation = `${body.operation_id}`.slice(0, 58);
  const next = { ...rest, mode: 'graceful', operation_id: `${operation}/fence` } as CommandBody<'failover'>;
  for (;;) {
    try {
      if (kind === 'failover') return await client.ops.command(kind, next, { signal: io.signal });
      if ((await openLines(client, site, io.signal)) === 0) return begun;
    } catch (error) {
      if (!(error instanceof HoldfastApiError) || error.code !== 'drained') throw error;
      if (error.message !== told) print.note(text`${error.message}`);
      told = error.message;
    }
    if (performance.now() > until)
      throw new CliError(exitCodes.no, text`${site} has not finished after ${age(waitMs)}; it stays cordoned`, [
        text`To move what is left all the same, and compute some lines twice: --mode forced`,
        text`To take it back: holdfast uncordon ${site} --reason "…"`,
      ]);
    await pause(pollMs, io.signal);
  }
}

/** Shows how the pointers are sent to whoever takes over, until none is left. It goes on without anybody watching. */
async function followRedrive(
  client: HoldfastClient,
  { waitMs, pollMs }: ControlConfig,
  { io }: Context,
): Promise<void> {
  const until = performance.now() + waitMs;
  const progress = createProgress(io);
  const tracks = new Map<string, Track>();
  try {
    while (performance.now() < until) {
      const { redrive } = await client.ops.status({ signal: io.signal });
      const sites = Object.entries(redrive ?? {}).filter(([, { redriven, left }]) => redriven + left > 0);
      for (const [site, { redriven, left }] of sites) {
        const track = tracks.get(site) ?? progress.track(`to ${site}`, redriven + left);
        tracks.set(site, track);
        track.update(redriven, redriven + left, left === 0 ? 'pointers sent' : `pointers sent, ${left} to go`);
      }
      if (sites.every(([, { left }]) => left === 0)) return;
      await pause(pollMs, io.signal);
    }
  } finally {
    progress.stop();
  }
}

async function openLines(client: HoldfastClient, site: string, signal: AbortSignal): Promise<number | undefined> {
  const { sites } = await client.ops.status({ signal });
  return sites.find((one) => one.site === site)?.openLines;
}

/** What was, or would be, done. */
export function answerLines(answer: ControlAnswer, styles: Styles): Text[] {
  const { bold, dim, green, red, yellow } = styles;
  if (answer.status === 'replayed') {
    const { at, actor, reason } = answer.entry;
    return [text`${bold('done before')}: entry ${answer.epoch} of ${at}, by ${actor}: ${reason}`];
  }
  const heads = {
    done: green(`done, entry ${answer.epoch}`),
    planned: bold(`nothing was changed: this is what would be, after entry ${answer.epoch}`),
    unchanged: bold(`it is so already, as of entry ${answer.epoch}`),
  };
  const { changes, objections, overridden, moving } = answer;
  const load = 'load' in answer ? answer.load : undefined;
  return [
    heads[answer.status],
    ...('solo' in answer && answer.solo
      ? [yellow('decided by one store and you: in force there alone until two voters answer')]
      : []),
    ...changes.map((change) => text`  ${change}`),
    ...(moving.length === 0 ? [] : [text``, text`In work there, as last counted:`]),
    ...table(
      moving.map(({ model, openLines, oldestMs }) => [
        '  ',
        model,
        openLines,
        text`lines, the oldest for ${age(oldestMs)}`,
      ]),
    ),
    ...(load == null
      ? []
      : [
          text``,
          text`Would move: ${load.batches} batches, ${load.lines} lines, about ${load.tokens} tokens; ${load.ahead} lines are open there already.`,
          load.estimated_seconds === null
            ? dim('How long that takes is not known: nothing was seen to get done there of late.')
            : text`At the pace last seen there, all of it is done in ${age(load.estimated_seconds * 1000)}.`,
        ]),
    ...objections.map(({ rule, sentence }) => text`${red('objects')}  ${bold(rule)}: ${sentence}`),
    ...overridden.map(({ rule, sentence }) => text`${yellow('overridden')}  ${bold(rule)}: ${sentence}`),
  ];
}

function scopeOption(): Option {
  return new Option('--scope <scope>', 'all (default), model=NAME or batch=ID').argParser((value: string) => {
    if (value === 'all') return {};
    const [, scope, name] = /^(model|batch)=(.+)$/.exec(value) ?? [];
    if (scope === undefined) throw new InvalidArgumentError('It must be all, model=NAME or batch=ID.');
    return { scope, name };
  });
}

function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

function weight(value: string): number {
  const number = wholeNumber(value);
  if (number < 1 || number > 100) throw new InvalidArgumentError('It must be from 1 to 100.');
  return number;
}

/** @throws CliError */
function weightsOf(args: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    args.map((arg) => {
      const [, site, share] = /^([a-z0-9]{1,16})=(\d{1,3})$/.exec(arg) ?? [];
      if (site === undefined || Number(share) > 100)
        throw new CliError(exitCodes.usage, text`'${arg}': it must be site=weight, the weight from 0 to 100`);
      return [site, Number(share)];
    }),
  );
}
