import type { BusboyFileStream, BusboyInstance } from '@fastify/busboy';
import { ApiError, badRequest } from './errors.ts';

/** One file of a form while it arrives: `body` must be read to its end, or the reading be given up by throwing. */
export interface IncomingFile {
  field: string;
  /** As the client wrote it, path and all; may be anything. */
  filename: string | undefined;
  body: AsyncIterable<Uint8Array>;
}

/** What a form holds beside its one file. */
export type FormFields = ReadonlyMap<string, string>;

const fieldsMax = 16;
const fieldBytesMax = 4096;

/**
 * Reads a multipart form with exactly one file, in bounded memory: no chunk is taken from `body` before `onFile` has
 * taken the one before. Fields may stand before or after the file.
 * @throws ApiError 415 where it is no form, 400 where it is cut off, malformed, has another number of files or too many
 *   fields; whatever `body` or `onFile` throws. `onFile` has ended by then, its file cut off with an error
 */
export async function readForm<T>(
  contentType: string | null,
  body: AsyncIterable<Uint8Array>,
  onFile: (file: IncomingFile) => Promise<T>,
): Promise<{ fields: FormFields; file: T }> {
  const parser = await openParser(contentType);
  const fields = new Map<string, string>();
  let incoming: { stream: BusboyFileStream; handled: Promise<T> } | undefined;
  // Rejects as soon as reading on is useless; resolves when the form is complete.
  const complete = new Promise<void>((resolve, reject) => {
    const refuse = (why: string) => reject(badRequest('invalid_form', why));
    parser.on('finish', resolve);
    parser.on('error', () => refuse('The form is malformed or was cut off.'));
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
      parser.on(limit, () => refuse('The form holds more than one file and a few fields.'));
    parser.on('field', (name, value, _nameTruncated, isTruncated) => {
      if (isTruncated) refuse(`A field of the form is longer than ${fieldBytesMax} bytes.`);
      else if (fields.has(name)) refuse('The form names a field twice.');
      else fields.set(name, value);
    });
    parser.on('file', (field, stream, filename) => {
      stream.on('error', () => refuse('The form is malformed or was cut off.'));
      const handled = onFile({ field, filename, body: stream });
      handled.catch(reject);
      incoming = { stream, handled };
    });
  });
  complete.catch(() => {});
  try {
    for await (const chunk of body) await Promise.race([write(parser, chunk), whenRefused(complete)]);
    parser.end();
    await complete;
    if (incoming === undefined)
      throw badRequest('missing_required_parameter', "Missing required parameter: 'file'.", 'file');
    return { fields, file: await incoming.handled };
  } catch (error) {
    incoming?.stream.destroy(error as Error);
    await incoming?.handled.catch(() => {});
    throw error;
  }
}

async function openParser(contentType: string | null): Promise<BusboyInstance> {
  if (!/^multipart\/form-data\s*;/i.test(contentType ?? ''))
    throw new ApiError({
      status: 415,
      code: 'unsupported_media_type',
      message: 'The body must be a form: Content-Type multipart/form-data.',
    });
  // Loaded by the first upload: most invocations see none. Bundled, a CommonJS package has a default export alone.
  const { Busboy } = (await import('@fastify/busboy')).default;
  try {
    return new Busboy({
      headers: { 'content-type': contentType! },
      preservePath: true,
      isPartAFile: (_field, _type, filename) => filename !== undefined,
      limits: {
        files: 1,
        fields: fieldsMax,
        parts: fieldsMax + 2,
        fieldSize: fieldBytesMax,
        headerPairs: 20,
        headerSize: 16 * 1024,
      },
    });
  } catch {
    throw badRequest('invalid_form', 'The Content-Type of the form names no boundary.');
  }
}

/** Resolves when the parser, and whoever reads the file, has room for more. */
function write(parser: BusboyInstance, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    parser.write(chunk, () => resolve());
  });
}

/** Rejects when `complete` does, and never resolves: a form may be complete while its last bytes are still being taken. */
function whenRefused(complete: Promise<void>): Promise<never> {
  return complete.then(() => new Promise<never>(() => {}));
}
