import { InvalidArgumentError, Option } from 'commander';
import type { BatchCost, CostPage } from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { type Styles, type Text, table, text } from '../text.ts';

export interface CostConfig {
  batch: string | undefined;
  limit: number;
  connection: Connection;
}

export function addCost(maker: CommandMaker): void {
  const command = maker.add(
    'cost [batch]',
    'tell tokens and dollars of a batch, or of the newest ones, from their facts',
    ['holdfast cost batch_0123456789abcdef0123456789abcdef', 'holdfast cost --limit 5 --json'],
  );
  command.addOption(
    new Option('--limit <n>', 'how many of the newest batches, 1 to 50').argParser(parseLimit).default(10),
  );
  maker.action(withConnection(command), costConfig, cost);
}

/** @throws InvalidArgumentError */
function parseLimit(value: string): number {
  const limit = Number(value);
  if (!/^\d+$/.test(value) || limit < 1 || limit > 50)
    throw new InvalidArgumentError('It must be a whole number from 1 to 50.');
  return limit;
}

function costConfig([batch]: string[], flags: Flags, env: Io['env']): CostConfig {
  return { batch, limit: flags.limit, connection: connectionOf(flags, env) };
}

async function cost({ batch, limit, connection }: CostConfig, { io, print }: Context): Promise<ExitCode> {
  const { ops } = connect(connection);
  const { signal } = io;
  if (batch !== undefined) {
    const one = await ops.cost(batch, { signal });
    print.result(one, () => batchLines(one, print.styles));
  } else {
    const page = await ops.costs({ limit, signal });
    print.result(page, () => pageLines(page, print.styles));
  }
  return exitCodes.ok;
}

function batchLines(cost: BatchCost, styles: Styles): Text[] {
  const { chosen, repeats, inference, plumbing, prices, unseen } = cost;
  return [
    text`${styles.bold(cost.batch)}, ${cost.model ?? 'model not known yet'}, ${cost.status}`,
    text``,
    ...table([
      ['', '', '', 'lines', 'input', 'cached', 'output', 'dollars'].map((head) => styles.dim(head)),
      ...inference.flatMap(({ cloud, backend, model, chosen, repeats }) => [
        spentRow(cloud ?? 'cloud not known', backend, model, chosen),
        ...(repeats.lines === 0 ? [] : [spentRow('', '', styles.yellow('  repeats'), repeats)]),
      ]),
      spentRow(styles.bold('inference'), '', '', chosen),
      ...(repeats.lines === 0 ? [] : [spentRow(styles.bold('repeats'), '', '', repeats)]),
    ]),
    text``,
    ...table(
      plumbing.map(({ cloud, operation, count, dollars }) => [
        cloud,
        operation.replaceAll('_', ' '),
        count,
        dollarText(dollars),
      ]),
    ),
    text`${styles.bold('plumbing')}, at least: ${dollarText(cost.plumbing_dollars)}`,
    text`${styles.bold('together')}: ${dollarText(cost.dollars)}`,
    text``,
    styles.dim(
      `List prices of ${prices.as_of}, ${prices.region.aws} and ${prices.region.azure}; models at the prices of the map.`,
    ),
    styles.dim(`Not counted: ${prices.not_counted.join('; ')}.`),
    ...(unseen.length === 0
      ? []
      : [styles.yellow(`Did not answer: ${unseen.join(', ')}. What only they know is missing here.`)]),
  ];
}

function pageLines(page: CostPage, styles: Styles): Text[] {
  if (page.data.length === 0) return [text`No batches.`];
  return [
    ...table([
      ['batch', 'model', '', 'tokens', 'inference', 'repeats', 'plumbing', 'together'].map((head) => styles.dim(head)),
      ...page.data.map((one) => [
        one.batch,
        one.model ?? '-',
        one.status,
        one.chosen.input_tokens + one.chosen.output_tokens,
        dollarText(one.chosen.dollars),
        dollarText(one.repeats.dollars),
        dollarText(one.plumbing_dollars),
        dollarText(one.dollars),
      ]),
      [
        styles.bold('all of these'),
        '',
        '',
        page.chosen.input_tokens + page.chosen.output_tokens,
        dollarText(page.chosen.dollars),
        dollarText(page.repeats.dollars),
        dollarText(page.plumbing_dollars),
        dollarText(page.dollars),
      ],
    ]),
    ...(page.has_more ? [styles.dim('There are more; --limit shows up to 50.')] : []),
  ];
}

function spentRow(
  cloud: Text | string,
  backend: string,
  model: Text | string,
  spent: BatchCost['chosen'],
): (Text | string | number)[] {
  const { lines, input_tokens, cached_tokens, output_tokens, dollars } = spent;
  return [cloud, backend, model, lines, input_tokens, cached_tokens, output_tokens, dollarText(dollars)];
}

/** A price that is not known is never a zero. */
function dollarText(dollars: number | null): string {
  if (dollars === null) return 'unknown';
  return `$${dollars.toFixed(dollars !== 0 && dollars < 0.01 ? 6 : 4)}`;
}
