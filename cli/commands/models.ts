import {
  type CloudName,
  HoldfastApiError,
  type ModelCheck,
  type ModelPage,
  type ModelShown,
  reasonOf,
} from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { type Styles, type Text, table, text } from '../text.ts';

export interface ModelsConfig {
  alias: string | undefined;
  isChecked: boolean;
  connection: Connection;
}

/** What one cloud says; `page` is absent where it says nothing. */
interface CloudModels {
  page?: ModelPage;
  checks?: ModelCheck[];
  error?: string;
}

type Seen = Record<CloudName, CloudModels>;

export function addModels(maker: CommandMaker): void {
  const command = maker.add('models [alias]', 'show what serves which model in each cloud, and whether it answers', [
    'holdfast models',
    'holdfast models gpt-oss --check',
  ]);
  command.option('--check', 'ask each backend for one token, from the cloud that uses it');
  maker.action(withConnection(command), modelsConfig, models);
}

function modelsConfig([alias]: string[], flags: Flags, env: Io['env']): ModelsConfig {
  return { alias, isChecked: flags.check === true, connection: connectionOf(flags, env) };
}

async function models(config: ModelsConfig, { io, print }: Context): Promise<ExitCode> {
  const [aws, azure] = await Promise.all([look('aws', config, io.signal), look('azure', config, io.signal)]);
  io.signal.throwIfAborted();
  const seen: Seen = { aws, azure };
  const entries = entriesOf(seen, config.alias);
  if (config.alias !== undefined && entries.length === 0 && (aws.page ?? azure.page) !== undefined)
    throw new CliError(exitCodes.no, text`No cloud serves the model ${config.alias}.`);
  const problems = problemsOf(seen, entries, config);
  print.result({ ok: problems.length === 0, clouds: seen, problems }, () => [
    ...entries.flatMap((entry) => [...entryLines(entry, config.alias ?? entry.alias, seen, print.styles), text``]),
    ...(entries.length === 0 ? [text`The model map names nothing.`, text``] : []),
    ...problems.map((one) => text`${print.styles.yellow('!')} ${one}`),
    ...(problems.length === 0 ? [print.styles.green('Nothing is wrong.')] : []),
  ]);
  if (aws.page === undefined && azure.page === undefined) return exitCodes.unreachable;
  return problems.length === 0 ? exitCodes.ok : exitCodes.no;
}

async function look(
  cloud: CloudName,
  { alias, isChecked, connection }: ModelsConfig,
  signal: AbortSignal,
): Promise<CloudModels> {
  const { ops } = connect(connection, { cloud, retryForMs: 0, answerMs: 60_000 });
  try {
    const page = await ops.models({ signal });
    if (!isChecked) return { page };
    const isServed = alias === undefined || page.data.some((one) => one.alias === alias || one.alias === '*');
    const checks = isServed ? (await ops.checkModels(alias === undefined ? {} : { alias }, { signal })).data : [];
    return { page, checks };
  } catch (error) {
    const said =
      error instanceof HoldfastApiError ? `${error.status} ${error.code}: ${error.message}` : reasonOf(error);
    return { error: said };
  }
}

/** Each alias once, as the first cloud that names it shows it; for one that is not named, the entry of all others. */
function entriesOf({ aws, azure }: Seen, alias: string | undefined): ModelShown[] {
  const byAlias = new Map<string, ModelShown>();
  for (const { page } of [azure, aws]) for (const entry of page?.data ?? []) byAlias.set(entry.alias, entry);
  if (alias !== undefined) return [byAlias.get(alias) ?? byAlias.get('*')].filter((entry) => entry !== undefined);
  return [...byAlias.values()].sort((a, b) => (a.alias < b.alias ? -1 : 1));
}

/** What is worth a look: a silent cloud, maps that differ, a model without a stand-in, a backend that does not answer. */
function problemsOf(seen: Seen, entries: readonly ModelShown[], { isChecked }: ModelsConfig): string[] {
  const problems: string[] = [];
  for (const cloud of ['aws', 'azure'] as const)
    if (seen[cloud].error !== undefined) problems.push(`${cloud} does not show its map: ${seen[cloud].error}`);
  const { aws, azure } = seen;
  if (aws.page !== undefined && azure.page !== undefined)
    for (const { alias } of entries) {
      const [inAws, inAzure] = [aws, azure].map(({ page }) => rulesOf(page!.data.find((one) => one.alias === alias)));
      if (inAws !== inAzure) problems.push(`${alias}: the two clouds were deployed with different entries`);
    }
  for (const entry of entries)
    if (entry.unprotected)
      problems.push(`${entry.alias} is unprotected: only ${entry.sites.join(', ') || 'no site'} may serve it`);
  if (isChecked)
    for (const { alias, site, backend, detail, answers } of [...(aws.checks ?? []), ...(azure.checks ?? [])])
      if (!answers) problems.push(`${alias} at ${site} (${backend}) does not answer: ${detail}`);
  return problems;
}

/** What both clouds must agree on, or each would send work by rules of its own. Where a backend is reached from may differ. */
function rulesOf(entry: ModelShown | undefined): string {
  const backends = entry?.backends.map(({ address: _, ...backend }) => backend);
  return JSON.stringify({ ...entry, backends });
}

function entryLines(entry: ModelShown, asked: string, seen: Seen, styles: Styles): Text[] {
  const goes = entry.placement === 'cheapest' ? 'cheapest first' : weightsOf(entry);
  const wait = entry.unplaced === 'fail' ? 'refused while no site may serve it' : 'waits while no site may serve it';
  return [
    text`${styles.bold(entry.alias)}  ${entry.policy}, ${goes}, ${wait}`,
    ...table(
      entry.backends.map((backend) => [
        text`  ${backend.cloud}`,
        backend.kind,
        backend.model,
        styles.dim(backend.address),
        limitsText(backend.limits),
        priceText(backend.price),
        backend.is_permitted ? answerOf(asked, backend.cloud, seen, styles) : styles.yellow('not permitted'),
      ]),
    ),
  ];
}

function weightsOf({ weights }: ModelShown): string {
  if (weights === null) return 'by the weights of the sites';
  return `by weight (aws ${weights.aws ?? 0}, azure ${weights.azure ?? 0})`;
}

function limitsText(limits: ModelShown['backends'][number]['limits']): string {
  const words = [
    limits.requestsPerMinute && `${limits.requestsPerMinute} requests/min`,
    limits.tokensPerMinute && `${limits.tokensPerMinute} tokens/min`,
    limits.concurrencyMax && `${limits.concurrencyMax} at once`,
    limits.inputsMax && `${limits.inputsMax} inputs`,
    limits.inputTokensMax && `${limits.inputTokensMax} tokens an input`,
    limits.callTokensMax && `${limits.callTokensMax} tokens a call`,
  ].filter(Boolean);
  return words.length === 0 ? 'no limits known' : words.join(', ');
}

function priceText(price: ModelShown['backends'][number]['price']): string {
  if (price === null) return 'price unknown';
  const out = price.output === null ? '' : `, $${price.output} out`;
  return `$${price.input} in, $${price.cachedInput} cached${out}`;
}

function answerOf(alias: string, cloud: CloudName, seen: Seen, styles: Styles): Text {
  const found = seen[cloud].checks?.find((one) => one.alias === alias);
  if (found === undefined) return text``;
  return found.answers ? styles.green(`answers in ${found.ms} ms as ${found.detail}`) : styles.red('does not answer');
}
