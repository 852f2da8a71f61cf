import { randomUUID } from 'node:crypto';
import { Option } from 'commander';
import { type CloudName, chooseUpload, type HoldfastClient, type Uploaded } from '../../client/index.ts';
import type { CommandMaker, Context, Flags } from '../command.ts';
import { type Connection, connect, connectionOf, withConnection } from '../connection.ts';
import { batchRows, errorLines, followBatch, size, verdictOf } from '../describe.ts';
import { downloadResults, type SavedFile } from '../download.ts';
import { CliError, type ExitCode, exitCodes } from '../exit.ts';
import { endpointIn, type InputFile, openInput, sha256OfFile } from '../input-file.ts';
import type { Io } from '../io.ts';
import { createProgress } from '../progress.ts';
import { table, text } from '../text.ts';

export interface SubmitConfig {
  path: string;
  /** Absent: the `url` of the first line. */
  endpoint: string | undefined;
  cloud: CloudName | 'auto';
  wait: boolean;
  /** Where the results go; absent: they are not downloaded. */
  out: string | undefined;
  force: boolean;
  idempotencyKey: string;
  metadata: Record<string, string> | null;
  pollMs: number;
  connection: Connection;
}

export function addSubmit(maker: CommandMaker): void {
  const command = maker.add('submit <file>', 'upload a JSONL file and start a batch', [
    'holdfast submit examples/chat.jsonl --wait',
    'holdfast submit requests.jsonl --cloud azure --out results/',
    'holdfast submit requests.jsonl --idempotency-key nightly-2026-11-20 --metadata team=search --json',
  ]);
  withConnection(command)
    .option('--endpoint <path>', "endpoint of every line (default: the first line's url)")
    .addOption(
      new Option('--cloud <cloud>', 'cloud to submit to; auto takes the one that answers')
        .choices(['aws', 'azure', 'auto'])
        .default('auto'),
    )
    .option('--wait', 'wait for the end and show the progress of each cloud')
    .option('--out <dir>', 'wait, then save output and error file there')
    .option('--force', 'replace files that are already in --out')
    .option('--idempotency-key <key>', 'the same key and file are the same batch, on either cloud (default: a new key)')
    .option('--metadata <name=value>', 'kept with the batch; may be given several times', collectMetadata)
    .addOption(new Option('--poll-ms <ms>').argParser(Number).default(1_000).hideHelp());
  maker.action(command, submitConfig, submit);
}

function submitConfig([path]: string[], flags: Flags, env: Io['env']): SubmitConfig {
  return {
    path: path!,
    endpoint: flags.endpoint,
    cloud: flags.cloud,
    wait: flags.wait === true || flags.out !== undefined,
    out: flags.out,
    force: flags.force === true,
    idempotencyKey: flags.idempotencyKey ?? randomUUID(),
    metadata: flags.metadata ?? null,
    pollMs: flags.pollMs,
    connection: connectionOf(flags, env),
  };
}

function collectMetadata(pair: string, before: Record<string, string> = {}): Record<string, string> {
  const at = pair.indexOf('=');
  if (at < 1) throw new CliError(exitCodes.usage, text`--metadata '${pair}': it must be name=value`);
  return { ...before, [pair.slice(0, at)]: pair.slice(at + 1) };
}

async function submit(config: SubmitConfig, { io, print }: Context): Promise<ExitCode> {
  const { signal } = io;
  const input = await openInput(config.path);
  const endpoint = config.endpoint ?? (await endpointIn(input));
  const { dim } = print.noteStyles;
  const patience = {
    retryForMs: 60_000,
    onRetry: ({ reason, waitMs }: { reason: string; waitMs: number }) =>
      print.warn(text`${reason}; again in ${Math.ceil(waitMs / 1000)} s`),
  };
  const client = connect(config.connection, { cloud: config.cloud, ...patience });
  print.note(dim(text`${input.name}: ${size(input.blob.size)} for ${endpoint}`));
  const uploaded = await upload(client, input, config, io);
  print.note(dim(text`uploaded to ${uploaded.cloud} as ${uploaded.file.id} (${wayWords[uploaded.way]})`));
  print.note(dim(text`idempotency key ${config.idempotencyKey}: with it, sending this again is the same batch`));
  // The file stands in every cloud, so whichever answers may accept; the one that took the file is asked first.
  const accepting =
    config.cloud === 'auto' ? connect(config.connection, { prefer: uploaded.cloud, ...patience }) : client;
  const accepted = await accepting.batches.create(
    { input_file_id: uploaded.file.id, endpoint, metadata: config.metadata },
    { idempotencyKey: config.idempotencyKey, signal },
  );
  const answer = {
    idempotency_key: config.idempotencyKey,
    upload: { cloud: uploaded.cloud, way: uploaded.way, bytes: input.blob.size, file_id: uploaded.file.id },
  };
  const styles = print.styles;
  if (!config.wait) {
    print.result({ batch: accepted, ...answer }, () => [
      ...table(batchRows(accepted, styles)),
      text``,
      text`Follow it:  holdfast status ${accepted.id}`,
    ]);
    return exitCodes.ok;
  }
  print.note(text`accepted: ${accepted.id}, receipt ${accepted.holdfast?.receipt ?? 'unknown'}`);
  const progress = createProgress(io);
  const ended = await followBatch(accepting, accepted.id, { progress, pollMs: config.pollMs, signal }).finally(() =>
    progress.stop(),
  );
  const files: SavedFile[] =
    config.out === undefined
      ? []
      : await downloadResults(accepting, ended, { out: config.out, force: config.force, signal });
  print.result({ batch: ended, ...answer, files }, () => [
    ...table(batchRows(ended, styles)),
    ...errorLines(ended),
    ...files.map((file) => text`${file.kind}  ${file.path}  ${size(file.bytes)}, SHA-256 right`),
  ]);
  return verdictOf(ended);
}

/** Uploads below this are over before anybody could read of them. */
const shownFrom = 2_000_000;

const wayWords = { form: 'one request', parts: 'in parts', presigned: 'straight to the store' } as const;

async function upload(client: HoldfastClient, input: InputFile, config: SubmitConfig, io: Io): Promise<Uploaded> {
  const { size: bytes } = input.blob;
  const mayBePresigned = client.clouds.some((cloud) => chooseUpload(bytes, cloud) === 'presigned');
  const progress = createProgress(io);
  const track = bytes >= shownFrom ? progress.track('upload', Math.ceil(bytes / 1000)) : undefined;
  try {
    return await client.files.upload(input.blob, {
      name: input.name,
      signal: io.signal,
      ...(mayBePresigned && { sha256: await sha256OfFile(config.path) }),
      onProgress: (sent, total) => track?.update(Math.ceil(sent / 1000), Math.ceil(total / 1000), 'kB'),
    });
  } catch (error) {
    if ((error as { name?: unknown }).name === 'NotReadableError')
      throw new CliError(exitCodes.usage, text`${config.path}: it changed while it was being sent`);
    throw error;
  } finally {
    progress.stop();
  }
}
