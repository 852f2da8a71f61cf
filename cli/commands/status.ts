import { Option } from 'commander';
import {
  type BatchObject,
  type CloudName,
  HoldfastApiError,
  type Page,
  reasonOf,
  type StatusAnswer,
  UnreachableError,
} from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { batchRow, batchRows, errorLines } from '../describe.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { pageLines } from '../page.ts';
import { type Styles, type Text, table, text } from '../text.ts';

export interface StatusConfig {
  batch: string | undefined;
  limit: number;
  connection: Connection;
}

export function addStatus(maker: CommandMaker): void {
  const command = maker.add(
    'status [batch]',
    'show what is wrong and what to do, and the newest batches; or one batch',
    ['holdfast status', 'holdfast status batch_0123456789abcdef0123456789abcdef --json'],
  );
  withConnection(command).addOption(
    new Option('--limit <count>', 'how many batches to list, 1 to 100').argParser(Number).default(20),
  );
  maker.action(command, statusConfig, status);
}

function statusConfig([batch]: (string | undefined)[], flags: Flags, env: Io['env']): StatusConfig {
  return { batch, limit: flags.limit, connection: connectionOf(flags, env) };
}

/** What one cloud said. */
interface Heard<T> {
  api: string;
  answers: boolean;
  ms: number;
  /** Absent where it answered well. */
  error?: string;
  value?: T;
  failure?: unknown;
}

/** Both clouds are asked at once, each once: this command is what one looks at when something is wrong. */
async function status(config: StatusConfig, { io, print }: Context): Promise<ExitCode> {
  const { batch, limit, connection } = config;
  const ask = async (cloud: CloudName) => {
    const client = connect(connection, { cloud, retryForMs: 0, answerMs: 5_000 });
    const { signal } = io;
    return hear<BatchObject | Page<BatchObject>>(connection[cloud], () =>
      batch === undefined ? client.batches.list({ limit, signal }) : client.batches.get(batch, { signal }),
    );
  };
  const [aws, azure, page] = await Promise.all([
    ask('aws'),
    ask('azure'),
    batch === undefined ? askPage(connection, io.signal) : null,
  ]);
  io.signal.throwIfAborted();
  const told = aws.value ?? azure.value;
  if (told === undefined) throw whatFailed([aws, azure]);
  const { styles } = print;
  const clouds = { aws: shown(aws), azure: shown(azure) };
  if ('data' in told)
    print.result({ clouds, page, batches: told.data, has_more: told.has_more }, () => [
      ...(page === null ? [] : [...pageLines(page, styles), text``]),
      ...cloudRows({ aws, azure }, styles),
      text``,
      ...(told.data.length === 0 ? [text`no batches yet: holdfast submit examples/chat.jsonl`] : []),
      ...table(told.data.map((one) => batchRow(one, styles, Date.now()))),
      ...(told.has_more ? [styles.dim('… and older ones: --limit')] : []),
    ]);
  else
    print.result({ clouds, batch: told }, () => [
      ...table(batchRows(told, styles)),
      ...errorLines(told),
      text``,
      ...cloudRows({ aws, azure }, styles),
    ]);
  return exitCodes.ok;
}

/** The page of whoever was woken, from whichever cloud answers first; none for a key that may not see it. */
async function askPage(connection: Connection, signal: AbortSignal): Promise<StatusAnswer | null> {
  const ask = (cloud: CloudName) =>
    connect(connection, { cloud, retryForMs: 0, answerMs: 15_000 }).ops.status({ signal });
  return Promise.any([ask('aws'), ask('azure')]).catch(() => null);
}

async function hear<T>(api: string, call: () => Promise<T>): Promise<Heard<T>> {
  const startedAt = performance.now();
  const ms = () => Math.round(performance.now() - startedAt);
  try {
    return { value: await call(), api, answers: true, ms: ms() };
  } catch (failure) {
    if (failure instanceof HoldfastApiError)
      return { api, answers: true, ms: ms(), error: `${failure.code}: ${failure.message}`, failure };
    return { api, answers: false, ms: ms(), error: reasonOf(failure), failure };
  }
}

/** What an answer says, if there was one; else that nobody answered. */
function whatFailed(heard: readonly Heard<unknown>[]): unknown {
  const answer = heard.find(({ answers }) => answers);
  if (answer !== undefined) return answer.failure;
  const attempts = heard.flatMap(({ failure }) => (failure instanceof UnreachableError ? failure.attempts : []));
  return attempts.length === heard.length ? new UnreachableError(attempts) : heard[0]?.failure;
}

function shown({ api, answers, ms, error }: Heard<unknown>) {
  return { api, answers, ms, error: error ?? null };
}

function cloudRows(heard: Record<CloudName, Heard<unknown>>, { green, red, yellow }: Styles): Text[] {
  return table(
    Object.entries(heard).map(([cloud, { api, answers, ms, error }]) => {
      if (!answers) return [cloud, api, red(text`does not answer: ${error}`)];
      return [cloud, api, error === undefined ? green(`answers (${ms} ms)`) : yellow(text`answers ${error}`)];
    }),
  );
}
