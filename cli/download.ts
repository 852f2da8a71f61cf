import { createHash, randomUUID } from 'node:crypto';
import { access, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BatchObject, HoldfastClient } from '../client/index.ts';
import { CliError, exitCodes } from './exit.ts';
import { text } from './text.ts';

/** A file that was downloaded and proved. */
export interface SavedFile {
  kind: 'output' | 'error';
  path: string;
  bytes: number;
  sha256: string;
}

export interface DownloadOptions {
  /** Folder, made if it is missing. */
  out: string;
  /** Replace what is there. */
  force: boolean;
  signal: AbortSignal;
}

const triesMax = 3;

/**
 * Saves the output and error file of a batch that has ended, as `<batch>_output.jsonl` and `<batch>_error.jsonl`. Each
 * appears under its name only when its length and SHA-256 are right; a download that breaks is begun again, at the other
 * cloud if need be.
 * @throws CliError where a file is already there, or cannot be had whole
 */
export async function downloadResults(
  client: HoldfastClient,
  batch: BatchObject,
  options: DownloadOptions,
): Promise<SavedFile[]> {
  const wanted = (['output', 'error'] as const).flatMap((kind) => {
    const id = kind === 'output' ? batch.output_file_id : batch.error_file_id;
    return id === null ? [] : [{ kind, id, path: join(options.out, fileName(batch.id, kind)) }];
  });
  await mkdir(options.out, { recursive: true }).catch(cannotWrite(options.out));
  for (const { path } of options.force ? [] : wanted)
    if (await exists(path))
      throw new CliError(exitCodes.usage, text`${path} is already there`, [text`--force replaces it.`]);
  const saved: SavedFile[] = [];
  for (const { kind, id, path } of wanted) saved.push({ kind, path, ...(await save(client, id, path, options)) });
  return saved;
}

/** Names come from a server: nothing in them may lead out of the folder. */
function fileName(batch: string, kind: string): string {
  return `${batch.replace(/[^\w-]/g, '_').slice(0, 128)}_${kind}.jsonl`;
}

async function save(
  client: HoldfastClient,
  id: string,
  path: string,
  { signal }: DownloadOptions,
): Promise<{ bytes: number; sha256: string }> {
  const file = await client.files.get(id, { signal });
  const part = `${path}.${randomUUID()}.part`;
  try {
    for (let tries = 1; ; tries++) {
      // A cloud that breaks off in the middle may do so again: every other try asks the other one first.
      const asked = tries % 2 === 0 && client.clouds.length > 1 ? client.on(client.clouds[1]!) : client;
      const got = await fetchInto(part, () => asked.files.content(id, { signal })).catch((error: unknown) => {
        if (signal.aborted || tries === triesMax) throw error;
        return undefined;
      });
      const isRight = got?.bytes === file.bytes && got.sha256 === (file.holdfast?.sha256 ?? got.sha256);
      if (got !== undefined && isRight) {
        await rename(part, path);
        return got;
      }
      if (tries === triesMax)
        throw new CliError(exitCodes.no, text`${id}: what was downloaded is not what the API announced`, [
          text`announced ${file.bytes} bytes, SHA-256 ${file.holdfast?.sha256 ?? 'not told'}`,
          text`got ${got?.bytes ?? 0} bytes, SHA-256 ${got?.sha256 ?? 'none'}`,
        ]);
    }
  } finally {
    await rm(part, { force: true });
  }
}

async function fetchInto(path: string, content: () => Promise<Response>): Promise<{ bytes: number; sha256: string }> {
  const response = await content();
  const hash = createHash('sha256');
  let bytes = 0;
  const handle = await open(path, 'w').catch(cannotWrite(path));
  try {
    for await (const piece of response.body ?? []) {
      hash.update(piece);
      bytes += piece.byteLength;
      await handle.writeFile(piece);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

function cannotWrite(path: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw new CliError(exitCodes.usage, text`${path}: cannot be written (${error.code ?? error.message})`);
  };
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
