import { hasEnded } from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { errorLines, size } from '../describe.ts';
import { downloadResults } from '../download.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { text } from '../text.ts';

export interface ResultsConfig {
  batch: string;
  out: string;
  force: boolean;
  connection: Connection;
}

export function addResults(maker: CommandMaker): void {
  const command = maker.add('results <batch>', 'save the output and error file of a batch that has ended', [
    'holdfast results batch_0123456789abcdef0123456789abcdef --out results/',
  ]);
  withConnection(command)
    .requiredOption('--out <dir>', 'folder to save them in; made if it is missing')
    .option('--force', 'replace files that are already there');
  maker.action(command, resultsConfig, results);
}

function resultsConfig([batch]: string[], flags: Flags, env: Io['env']): ResultsConfig {
  return { batch: batch!, out: flags.out, force: flags.force === true, connection: connectionOf(flags, env) };
}

async function results(config: ResultsConfig, { io, print }: Context): Promise<ExitCode> {
  const client = connect(config.connection);
  const batch = await client.batches.get(config.batch, { signal: io.signal });
  if (!hasEnded(batch))
    throw new CliError(exitCodes.no, text`${batch.id} is ${batch.status}: there are no results before it ends`, [
      text`Its progress:  holdfast status ${batch.id}`,
    ]);
  const files = await downloadResults(client, batch, { ...config, signal: io.signal });
  print.result({ batch: batch.id, status: batch.status, files }, () => [
    ...files.map((file) => text`${file.kind}  ${file.path}  ${size(file.bytes)}, SHA-256 right`),
    ...(files.length === 0 ? [text`${batch.id} is ${batch.status} and left no files`] : []),
    ...errorLines(batch),
  ]);
  return files.length === 0 ? exitCodes.no : exitCodes.ok;
}
