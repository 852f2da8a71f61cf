import { createHash } from 'node:crypto';
import { createReadStream, openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { CliError, exitCodes } from './exit.ts';
import { text } from './text.ts';

export interface InputFile {
  name: string;
  /** Read from disk as it is sent; a change meanwhile makes reading fail. */
  blob: Blob;
}

/** Opens a batch file. @throws CliError where it is none */
export async function openInput(path: string): Promise<InputFile> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(
      exitCodes.usage,
      text`${path}: ${error.code === 'ENOENT' ? 'no such file' : (error.code ?? error.message)}`,
    );
  });
  if (!found.isFile()) throw new CliError(exitCodes.usage, text`${path}: not a file`);
  return { name: basename(path), blob: await openAsBlob(path) };
}

/** A first line longer than this names no endpoint here. */
const firstLineBytesMax = 4 * 1024 * 1024;

/** `url` of the first line, which is the endpoint of the batch; the server holds every line to it. @throws CliError */
export async function endpointIn(file: InputFile): Promise<string> {
  const head = await file.blob.slice(0, firstLineBytesMax).text();
  const line = head.replace(/^\ufeff/, '').split('\n', 1)[0]!;
  const url = urlOf(line);
  if (url === undefined)
    throw new CliError(exitCodes.usage, text`${file.name}: the first line names no url to take the endpoint from`, [
      text`Say it: --endpoint /v1/chat/completions, /v1/responses or /v1/embeddings`,
      text`A line looks like {"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{…}}`,
    ]);
  return url;
}

function urlOf(line: string): string | undefined {
  try {
    const url = (JSON.parse(line) as { url?: unknown } | null)?.url;
    return typeof url === 'string' && url !== '' ? url : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 in hex, in bounded memory. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(piece as Uint8Array);
  return hash.digest('hex');
}
