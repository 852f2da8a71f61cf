import { HoldfastApiError } from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { batchRows } from '../describe.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { table, text } from '../text.ts';

export interface CancelConfig {
  batch: string;
  connection: Connection;
}

export function addCancel(maker: CommandMaker): void {
  const command = maker.add('cancel <batch>', 'end a batch early; what is answered by then is kept', [
    'holdfast cancel batch_0123456789abcdef0123456789abcdef',
  ]);
  maker.action(withConnection(command), cancelConfig, cancel);
}

function cancelConfig([batch]: string[], flags: Flags, env: Io['env']): CancelConfig {
  return { batch: batch!, connection: connectionOf(flags, env) };
}

async function cancel(config: CancelConfig, { io, print }: Context): Promise<ExitCode> {
  const batch = await connect(config.connection)
    .batches.cancel(config.batch, { signal: io.signal })
    .catch((error: unknown) => {
      if (error instanceof HoldfastApiError && error.status === 409)
        throw new CliError(exitCodes.no, text`${error.code}: ${error.message}`);
      throw error;
    });
  print.result(batch, () => table(batchRows(batch, print.styles)));
  return exitCodes.ok;
}
