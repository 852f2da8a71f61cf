import { InvalidArgumentError, Option } from 'commander';
import {
  type ActiveFault,
  FaultError,
  type FaultOrder,
  faultControl,
  type Injected,
  nameOf,
  parseFaultOrder,
  services,
  sites,
} from '../../local/faults/index.ts';
import { defaultPortBase, portsOf } from '../../local/ports.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { portBaseOption } from '../connection.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import { table, text } from '../text.ts';

const injectHelp = `
Sites:     aws, azure, witness; a cloud alone means all of its services and the link, both ways
Services:  store, queue, model, api    what everybody calls
           functions                   what runs them
           link                        what the functions of one cloud call of the other
Kinds:
  refuse, reset                  nobody listens; connections break
  blackhole                      bytes are taken, and nothing comes back
  delay                          every message takes --delay ms longer
  error                          500 in the service's own words; partial: to a share of requests
  throttle                       429, SlowDown, ServerBusy, ThrottlingException: as the service says it
  expired-credentials            401, 403, ExpiredToken, AuthenticationFailed
  readonly                       of store and witness: reads work, writes do not
  hang                           of model and api: requests are taken, and nothing answers
  freeze                         of functions: no queue is polled, every API answers
  refuse                         of functions: the host does not run while it lasts
  kill                           kill -9; of functions, the cloud starts them again; of a site, "holdfast up --only" does
`;

export function addFault(maker: CommandMaker): void {
  const group = maker.group('fault', 'break the local clouds, for a while');
  const inject = group.add('inject <target> <kind>', 'break SITE or SITE/SERVICE; it ends by itself', [
    'holdfast fault inject aws/store refuse --ttl 30',
    'holdfast fault inject aws/model throttle --model gpt-oss-120b',
    'holdfast fault inject azure/link blackhole --direction from',
    'holdfast fault inject azure/queue partial --share 0.3 --json',
    'holdfast fault inject aws kill',
  ]);
  inject
    .addHelpText('after', injectHelp)
    .addOption(new Option('--ttl <seconds>', 'how long it holds').argParser(number).default(60))
    .addOption(
      new Option(
        '--direction <way>',
        'of a link or a site: calls to it or from it; of a service: requests to it or its replies',
      ).choices(['to', 'from', 'both']),
    )
    .addOption(new Option('--share <share>', 'of requests that are struck, above 0, at most 1').argParser(number))
    .addOption(new Option('--delay <ms>', 'of delay').argParser(number))
    .addOption(new Option('--model <name>', 'only requests for this model'))
    .addOption(new Option('--seed <seed>', 'of the dice that --share throws').argParser(number))
    .addOption(portBaseOption());
  group.action(inject, injectConfig, runInject);
  const list = group.add('list', 'show what is broken, and for how long', ['holdfast fault list --json']);
  group.action(list.addOption(portBaseOption()), (_, flags) => controlOf(flags), runList);
  const clear = group.add('clear [id]', 'end one fault, or all', [
    'holdfast fault clear fault_1a2b3c4d',
    'holdfast fault clear --all',
  ]);
  clear.option('--all', 'every fault').addOption(portBaseOption());
  group.action(clear, clearConfig, runClear);
}

type Control = ReturnType<typeof faultControl>;

const controlOf = (flags: Flags): Control => faultControl(portsOf(flags.portBase ?? defaultPortBase));

function injectConfig([target, kind]: string[], flags: Flags): { control: Control; order: FaultOrder } {
  const [site, service, ...more] = target!.split('/');
  if (!sites.some((known) => known === site) || more.length > 0)
    throw usage(`'${target}' is no SITE or SITE/SERVICE; sites are ${sites.join(', ')}`);
  if (service !== undefined && !services.some((known) => known === service))
    throw usage(`'${service}' is no service; services are ${services.join(', ')}`);
  const { ttl, direction, share, delay, model, seed } = flags;
  const asked = { site, service, kind, direction, share, delayMs: delay, model, seed, ttlMs: ttl * 1_000 };
  const order = parseFaultOrder(asked);
  if (typeof order === 'string') throw usage(order);
  return { control: controlOf(flags), order };
}

async function runInject(config: { control: Control; order: FaultOrder }, { print }: Context): Promise<ExitCode> {
  const { control, order } = config;
  const injected = await reached(control.inject(order));
  print.result({ ...injected, ...order }, () => [injectedLine(injected, order)]);
  if (injected.dark.length > 0) print.note(text`${injected.dark.join(', ')} did not answer, and is not struck`);
  return exitCodes.ok;
}

function injectedLine({ id, struck }: Injected, order: FaultOrder) {
  if (order.kind === 'kill') return text`${nameOf(order)} killed`;
  return text`${id}: ${nameOf(order)} ${order.kind} for ${order.ttlMs / 1_000} s (${struck} routes or processes)`;
}

async function runList(control: Control, { print }: Context): Promise<ExitCode> {
  const faults = await reached(control.list());
  print.result({ faults }, () =>
    faults.length === 0
      ? [text`no faults`]
      : table([['id', 'target', 'kind', 'ends in', ''], ...faults.map((fault) => rowOf(fault))]),
  );
  return exitCodes.ok;
}

function rowOf(fault: ActiveFault): string[] {
  const { id, kind, remainingMs, direction, share, delayMs, model } = fault;
  const more = [
    direction && `direction ${direction}`,
    share !== undefined && `share ${share}`,
    delayMs !== undefined && `${delayMs} ms`,
    model && `model ${model}`,
  ];
  return [id, nameOf(fault), kind, `${Math.ceil(remainingMs / 1_000)} s`, more.filter(Boolean).join(', ')];
}

function clearConfig([id]: (string | undefined)[], flags: Flags): { control: Control; id: string | undefined } {
  if ((id === undefined) === (flags.all !== true)) throw usage('give the id of a fault, or --all');
  return { control: controlOf(flags), id };
}

async function runClear({ control, id }: ReturnType<typeof clearConfig>, { print }: Context): Promise<ExitCode> {
  const ended = await reached(control.clear(id));
  print.result({ ended }, () => [text`${ended} ended`]);
  if (id === undefined || ended > 0) return exitCodes.ok;
  print.note(text`there is no fault ${id}: it may have ended by itself`);
  return exitCodes.no;
}

async function reached<T>(call: Promise<T>): Promise<T> {
  return call.catch((error: unknown) => {
    if (!(error instanceof FaultError)) throw error;
    if (error.code === 'refused') throw usage(error.message);
    throw new CliError(exitCodes.unreachable, text`${error.message}`, [text`"holdfast up" starts the local clouds.`]);
  });
}

function usage(message: string): CliError {
  return new CliError(exitCodes.usage, text`${message}`);
}

function number(value: string): number {
  const parsed = Number(value);
  if (value.trim() === '' || !Number.isFinite(parsed)) throw new InvalidArgumentError('It must be a number.');
  return parsed;
}
