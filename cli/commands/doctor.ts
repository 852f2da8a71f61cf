import { type CloudName, type Health, HoldfastApiError, reasonOf } from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { type Styles, type Text, table, text } from '../text.ts';

export interface DoctorConfig {
  connection: Connection;
  env: Io['env'];
}

/** One thing that was looked at. `unknown`: nobody could tell. */
export interface Check {
  name: string;
  verdict: 'ok' | 'warning' | 'problem' | 'unknown';
  detail: string;
  /** What to do about it; absent where there is nothing to do. */
  advice?: string;
}

export function addDoctor(maker: CommandMaker): void {
  const command = maker.add('doctor', 'look for what is wrong, and say what to do', [
    'holdfast doctor',
    'holdfast doctor --port-base 5000 --json',
  ]);
  maker.action(withConnection(command), doctorConfig, doctor);
}

function doctorConfig(_: string[], flags: Flags, env: Io['env']): DoctorConfig {
  return { connection: connectionOf(flags, env), env };
}

async function doctor({ connection, env }: DoctorConfig, { io, print }: Context): Promise<ExitCode> {
  const [config, aws, azure] = await Promise.all([
    checkConfig(env),
    examine('aws', connection, io.signal),
    examine('azure', connection, io.signal),
  ]);
  io.signal.throwIfAborted();
  const healths = [aws.health, azure.health].filter((one) => one !== undefined);
  const checks = [checkNode(process.versions.node), config, aws.check, azure.check, ...checkHealths(healths)];
  const isWell = checks.every(({ verdict }) => verdict === 'ok');
  print.result({ ok: isWell, checks, health: { aws: aws.health ?? null, azure: azure.health ?? null } }, () => [
    ...checkLines(checks, print.styles),
    text``,
    isWell
      ? print.styles.green('Nothing is wrong.')
      : text`${checks.filter(({ verdict }) => verdict !== 'ok').length} of ${checks.length} checks found something.`,
  ]);
  if (healths.length === 0 && !aws.answers && !azure.answers) return exitCodes.unreachable;
  return isWell ? exitCodes.ok : exitCodes.no;
}

export function checkNode(version: string): Check {
  const isNew = Number(version.split('.')[0]) >= 24;
  return isNew
    ? { name: 'node', verdict: 'ok', detail: `Node ${version}` }
    : {
        name: 'node',
        verdict: 'problem',
        detail: `Node ${version}`,
        advice: 'Holdfast needs 24 or later: npm ci brings one.',
      };
}

/** The configuration of a deployment matters here only where the environment names one. */
async function checkConfig(env: Io['env']): Promise<Check> {
  const name = 'configuration';
  if (!env.HOLDFAST_CONFIG) return { name, verdict: 'ok', detail: 'HOLDFAST_CONFIG is not set; nothing to check' };
  try {
    // Loaded only here: the schema costs each command's start more than all else.
    const { readConfig } = await import('../../runtime/config-file.ts');
    const { self, sites } = await readConfig('.', env);
    return {
      name,
      verdict: 'ok',
      detail: `${env.HOLDFAST_CONFIG} holds: ${Object.keys(sites).join(', ')}, as ${self}`,
    };
  } catch (error) {
    return { name, verdict: 'problem', detail: (error as Error).message, advice: 'Mend the keys named above.' };
  }
}

interface Examined {
  answers: boolean;
  check: Check;
  health?: Health;
}

async function examine(cloud: CloudName, connection: Connection, signal: AbortSignal): Promise<Examined> {
  const api = connection[cloud];
  const startedAt = performance.now();
  try {
    const health = await connect(connection, { cloud, retryForMs: 0, answerMs: 15_000 }).ops.health({ signal });
    const ms = Math.round(performance.now() - startedAt);
    const detail = `${api} answers in ${ms} ms, version ${health.version}`;
    return { answers: true, health, check: { name: cloud, verdict: 'ok', detail } };
  } catch (error) {
    const check = { name: cloud, verdict: 'problem' } as const;
    if (error instanceof HoldfastApiError)
      return {
        answers: true,
        check: {
          ...check,
          detail: `${api} answers ${error.status} ${error.code}: ${error.message}`,
          advice:
            error.status === 401
              ? 'The key is not known there: set HOLDFAST_KEY, or make one.'
              : 'Look at the log of its API function.',
        },
      };
    return {
      answers: false,
      check: {
        ...check,
        detail: `${api} does not answer: ${reasonOf(error)}`,
        advice: `On this machine: holdfast up, or holdfast up --only ${cloud}. Elsewhere: check the address.`,
      },
    };
  }
}

/** What the clouds that answer say of themselves and of each other. */
export function checkHealths(healths: readonly Health[]): Check[] {
  if (healths.length === 0)
    return [
      {
        name: 'stores, queues, witness',
        verdict: 'unknown',
        detail: 'no cloud answers that could tell',
        advice: 'Start or reach one cloud first; either is enough.',
      },
    ];
  return [
    ...checkVersions(healths),
    ...checkControl(healths),
    ...healths.flatMap(checkStores),
    ...healths.flatMap(checkWitness),
    ...healths.flatMap(checkQueues),
    ...healths.map(checkQuarantine),
  ];
}

function checkVersions(healths: readonly Health[]): Check[] {
  const versions = new Set(healths.map(({ version }) => version));
  if (versions.size < 2) return [];
  const detail = healths.map(({ site, version }) => `${site} ${version}`).join(', ');
  return [{ name: 'versions', verdict: 'warning', detail, advice: 'Deploy the same version to both clouds.' }];
}

function checkControl(healths: readonly Health[]): Check[] {
  return healths.map(({ site, control }) => {
    const name = `control, as ${site} sees it`;
    if (control === null)
      return {
        name,
        verdict: 'problem',
        detail: 'the control log cannot be read',
        advice: 'No store that answers holds it. A new deployment needs its first entry.',
      };
    const states = Object.entries(control.sites).map(([id, { state, weight }]) => `${id} ${state} ${weight}`);
    const detail = `epoch ${control.epoch}: ${states.join(', ')}${control.frozen ? ', frozen' : ''}`;
    const away = Object.entries(control.sites).filter(([, { state }]) => state !== 'active');
    if (control.frozen)
      return {
        name,
        verdict: 'warning',
        detail,
        advice: 'Roles do not change while it is frozen: unfreeze when done.',
      };
    if (away.length === 0) return { name, verdict: 'ok', detail };
    const advice = `${away.map(([id, { state }]) => `${id} is ${state}`).join(', ')}: fail back once it is well.`;
    return { name, verdict: 'warning', detail, advice };
  });
}

function checkStores({ site, stores }: Health): Check[] {
  const own = stores.filter(({ store }) => !store.startsWith('witness/'));
  const silent = own.filter(({ answers }) => !answers);
  const name = `stores, as ${site} sees them`;
  if (silent.length === 0) {
    const slowest = Math.max(...own.map(({ ms }) => ms));
    return [{ name, verdict: 'ok', detail: `all ${own.length} answer, the slowest in ${slowest} ms` }];
  }
  return silent.map((one) => ({
    name: `${one.store}, as ${site} sees it`,
    verdict: 'problem',
    detail: `no answer after ${one.ms} ms (${'error' in one ? one.error : 'unknown'})`,
    advice: one.store.startsWith(`${site}/`)
      ? 'This cloud cannot reach its own store: credentials, then its status page.'
      : 'Nothing is accepted while it is silent, unless it is fenced or intake is "available".',
  }));
}

function checkWitness({ site, stores, has_witness }: Health): Check[] {
  const name = `witness, as ${site} sees it`;
  if (!has_witness)
    return [
      {
        name,
        verdict: 'warning',
        detail: 'none is configured',
        advice: 'Without a third voter nothing fails over by itself: configure one.',
      },
    ];
  const silent = stores.filter(({ store, answers }) => store.startsWith('witness/') && !answers);
  if (silent.length === 0) return [{ name, verdict: 'ok', detail: 'answers' }];
  return [
    {
      name,
      verdict: 'warning',
      detail: `does not answer: ${silent.map(({ store }) => store).join(', ')}`,
      advice: 'Nothing stops while both clouds answer, but bring it back before one of them does not.',
    },
  ];
}

function checkQueues({ queues }: Health): Check[] {
  return queues.map((queue) => {
    const name = `queue ${queue.queue}`;
    if (!('visible' in queue))
      return {
        name,
        verdict: 'problem',
        detail: `does not answer (${queue.error})`,
        advice:
          'Work stands still in this cloud, and nothing is lost: the sweeper sends it again. Check the queue service.',
      };
    const { visible, in_flight: inFlight, delayed, dead_lettered: dead } = queue;
    const detail = `${visible} waiting, ${inFlight} in work, ${delayed} delayed, ${dead} dead-lettered`;
    if (dead === 0) return { name, verdict: 'ok', detail };
    const advice = 'Only messages that nobody can read end there: look at them before you purge them.';
    return { name, verdict: 'warning', detail, advice };
  });
}

function checkQuarantine({ site, quarantined }: Health): Check {
  const name = `quarantine of ${site}`;
  if (quarantined === null) return { name, verdict: 'unknown', detail: 'its store does not answer' };
  if (quarantined === 0) return { name, verdict: 'ok', detail: 'empty' };
  return {
    name,
    verdict: 'warning',
    detail: `${quarantined} objects that are no facts of ours`,
    advice: `Read the reports under quarantine/ in the state container of ${site}: they name key and fault.`,
  };
}

function checkLines(checks: readonly Check[], styles: Styles): Text[] {
  const marks = {
    ok: styles.green('ok'),
    warning: styles.yellow('warning'),
    problem: styles.red('PROBLEM'),
    unknown: styles.yellow('unknown'),
  };
  const rows = table(checks.map(({ name, verdict, detail }) => [marks[verdict], name, detail]));
  return checks.flatMap(({ advice }, i) =>
    advice === undefined ? [rows[i]!] : [rows[i]!, text`         → ${advice}`],
  );
}
