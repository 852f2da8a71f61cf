import { resolve } from 'node:path';
import { Option } from 'commander';
import { defaultPortBase } from '../../local/ports.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { portBaseOption } from '../connection.ts';
import { type ExitCode, exitCodes } from '../exit.ts';
import { type LocalClouds, type LocalOptions, startClouds } from '../local-clouds.ts';
import { type Styles, type Text, table, text } from '../text.ts';

export interface UpConfig extends LocalOptions {
  dataDir: string;
  portBase: number;
}

export function addUp(maker: CommandMaker): void {
  const command = maker.add('up', 'run both clouds on this machine, until Ctrl-C', [
    'holdfast up',
    'holdfast up --data /tmp/clouds --port-base 5000 --json',
    'holdfast up --only aws',
  ]);
  command
    .option('--data <dir>', 'where the clouds keep everything', '.holdfast')
    .addOption(portBaseOption())
    .addOption(
      new Option('--only <cloud>', 'start one cloud again, on the same data and ports').choices(['aws', 'azure']),
    );
  maker.action(command, upConfig, up);
}

function upConfig(_: string[], flags: Flags): UpConfig {
  return {
    dataDir: resolve(flags.data),
    portBase: flags.portBase ?? defaultPortBase,
    ...(flags.only !== undefined && { only: flags.only }),
    quiet: flags.json === true,
  };
}

async function up(config: UpConfig, { io, print }: Context): Promise<ExitCode> {
  print.say(text`Starting ${config.only ?? 'both clouds'} on ports from ${config.portBase}; data in ${config.dataDir}`);
  const clouds = await startClouds(config);
  try {
    const { console, key, aws, azure, witness } = clouds;
    print.result({ console, key, aws, azure, witness }, () => readyLines(clouds, print.styles));
    await new Promise<void>((done) => {
      if (io.signal.aborted) return done();
      io.signal.addEventListener('abort', () => done(), { once: true });
    });
    print.say(text`Stopping.`);
  } finally {
    await clouds.stop();
  }
  return exitCodes.ok;
}

function readyLines({ console, key, aws, azure, witness }: LocalClouds, { bold, dim }: Styles): Text[] {
  return [
    text``,
    ...table([
      ['console', bold(console)],
      ...(aws === undefined ? [] : [['aws', text`${bold(aws.api)}  ${dim(`pid ${aws.pid}`)}`]]),
      ...(azure === undefined ? [] : [['azure', text`${bold(azure.api)}  ${dim(`pid ${azure.pid}`)}`]]),
      ...(witness === undefined ? [] : [['witness', text`${bold(witness.url)}  ${dim(`pid ${witness.pid}`)}`]]),
      ['key', bold(key)],
    ]),
    text``,
    text`Try, in another terminal:  npx holdfast submit examples/chat.jsonl --wait`,
    ...(aws === undefined
      ? []
      : [text`An outage of AWS:  kill -9 $(pgrep -P ${aws.pid}) ${aws.pid}  and its end:  npx holdfast up --only aws`]),
    text`Ctrl-C stops everything; the data stays.`,
  ];
}
