import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { checkAuth } from './auth.ts';
import { type ReceivedBody, receiveBody, receiveText } from './body.ts';
import type { Condition, ObjectDisk, StoredVersion } from './disk.ts';
import { invalidArgument, noSuchKey, notImplemented, S3Error } from './error.ts';
import { errorXml, parseParts, toXml } from './xml.ts';

const KEYS_MAX = 1000;
const READ_BYTES = 256 * 1024;
/** @source https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html (2026-11) */
const KEY_BYTES_MAX = 1024;

/** One request, taken apart. */
interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  bucket: string;
  key: string;
  query: URLSearchParams;
}

/** Answers S3 requests (path style) from a directory, and counts them by operation. */
export class S3Server {
  /** Requests by operation, in S3's names. */
  readonly calls: Record<string, number> = {};
  readonly #disk: ObjectDisk;

  constructor(disk: ObjectDisk) {
    this.#disk = disk;
  }

  /** Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const url = new URL(request.url ?? '/', 'http://s3');
      const [, bucket = '', key = ''] = /^\/([^/]*)\/?(.*)$/s.exec(rawPath(request)) ?? [];
      const call: Call = { request, response, bucket, key: decodeURIComponent(key), query: url.searchParams };
      checkAuth(request, url.searchParams, Date.now());
      if (Buffer.byteLength(call.key) > KEY_BYTES_MAX)
        throw new S3Error(400, 'KeyTooLongError', 'Your key is too long');
      const [operation, run] = this.#route(call);
      this.calls[operation] = (this.calls[operation] ?? 0) + 1;
      await run(call);
    } catch (error) {
      refuse(request, response, error);
    }
  }

  #route({ request, bucket, key, query }: Call): [string, (call: Call) => Promise<void>] {
    const method = request.method ?? '';
    if (bucket === '') {
      if (method === 'GET') return ['ListBuckets', (call) => this.#listBuckets(call)];
    } else if (key === '') {
      if (method === 'GET' && query.has('versions')) return ['ListObjectVersions', (call) => this.#listVersions(call)];
      if (method === 'GET' && query.get('list-type') === '2') return ['ListObjectsV2', (call) => this.#list(call)];
      if (method === 'HEAD') return ['HeadBucket', (call) => this.#headBucket(call)];
      if (method === 'PUT' && query.size === 0) return ['CreateBucket', (call) => this.#createBucket(call)];
    } else {
      const upload = query.has('uploadId');
      if (method === 'GET' && !upload) return ['GetObject', (call) => this.#get(call)];
      if (method === 'HEAD') return ['HeadObject', (call) => this.#get(call)];
      if (method === 'PUT' && upload) return ['UploadPart', (call) => this.#putPart(call)];
      if (method === 'PUT' && request.headers['x-amz-copy-source'] === undefined) {
        return ['PutObject', (call) => this.#put(call)];
      }
      if (method === 'DELETE' && upload) return ['AbortMultipartUpload', (call) => this.#abort(call)];
      if (method === 'DELETE') return ['DeleteObject', (call) => this.#delete(call)];
      if (method === 'POST' && query.has('uploads'))
        return ['CreateMultipartUpload', (call) => this.#startUpload(call)];
      if (method === 'POST' && upload) return ['CompleteMultipartUpload', (call) => this.#complete(call)];
    }
    throw notImplemented(`${method} of /${bucket}${key && '/…'}?${[...query.keys()].join('&')}`);
  }

  async #listBuckets({ response }: Call): Promise<void> {
    const Bucket = this.#disk.buckets().map(({ name, created }) => ({ Name: name, CreationDate: iso(created) }));
    sendXml(response, toXml('ListAllMyBucketsResult', { Owner: { ID: 'local' }, Buckets: { Bucket } }));
  }

  async #headBucket({ response, bucket }: Call): Promise<void> {
    this.#disk.bucket(bucket);
    response.writeHead(200).end();
  }

  async #createBucket({ request, response, bucket }: Call): Promise<void> {
    await receiveText(request);
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
      throw new S3Error(400, 'InvalidBucketName', 'The specified bucket is not valid.');
    }
    this.#disk.createBucket(bucket);
    response.writeHead(200, { location: `/${bucket}` }).end();
  }

  async #list({ response, bucket, query }: Call): Promise<void> {
    const limit = keysAsked(query);
    const prefix = query.get('prefix') ?? '';
    if (query.get('delimiter')) throw notImplemented('delimiters');
    const token = query.get('continuation-token');
    const after = token === null ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64url').toString();
    // One more than asked for tells whether there is more.
    const found = this.#disk.list(bucket, prefix, after, limit + 1);
    const entries = found.slice(0, limit);
    const more = found.length > limit && limit > 0;
    const encode = encoder(query);
    sendXml(
      response,
      toXml('ListBucketResult', {
        Name: bucket,
        Prefix: encode(prefix),
        StartAfter: query.has('start-after') ? encode(query.get('start-after') ?? '') : undefined,
        KeyCount: entries.length,
        MaxKeys: limit,
        EncodingType: query.get('encoding-type') ?? undefined,
        IsTruncated: more,
        NextContinuationToken: more ? Buffer.from(entries.at(-1)?.key ?? '').toString('base64url') : undefined,
        Contents: entries.map(({ key, etag, bytes, modified }) => ({
          Key: encode(key),
          LastModified: iso(modified),
          ETag: `"${etag}"`,
          Size: bytes,
          StorageClass: 'STANDARD',
        })),
      }),
    );
  }

  async #listVersions({ response, bucket, query }: Call): Promise<void> {
    if (query.has('key-marker')) throw notImplemented('pages of versions');
    const limit = keysAsked(query);
    const encode = encoder(query);
    const found = this.#disk.listVersions(bucket, query.get('prefix') ?? '', limit + 1);
    const shown = found.slice(0, limit).map(({ key, version, latest, modified, marker, etag, bytes }) => ({
      marker,
      xml: {
        Key: encode(key),
        VersionId: version,
        IsLatest: latest,
        LastModified: iso(modified),
        ...(marker ? {} : { ETag: `"${etag}"`, Size: bytes, StorageClass: 'STANDARD' }),
      },
    }));
    sendXml(
      response,
      toXml('ListVersionsResult', {
        Name: bucket,
        Prefix: encode(query.get('prefix') ?? ''),
        MaxKeys: limit,
        EncodingType: query.get('encoding-type') ?? undefined,
        IsTruncated: found.length > limit,
        Version: shown.filter(({ marker }) => !marker).map(({ xml }) => xml),
        DeleteMarker: shown.filter(({ marker }) => marker).map(({ xml }) => xml),
      }),
    );
  }

  async #put(call: Call): Promise<void> {
    const { request, response, bucket, key } = call;
    this.#disk.bucket(bucket);
    const body = await receiveBody(request, this.#disk.filesDir);
    const type = request.headers['content-type'] ?? 'binary/octet-stream';
    const stored = await keepOrDiscard(body, () => this.#disk.put(bucket, key, body, type, conditionOf(request)));
    response.writeHead(200, { etag: `"${stored.etag}"`, ...versionHeader(stored) }).end();
  }

  async #get({ request, response, bucket, key, query }: Call): Promise<void> {
    const found = this.#disk.find(bucket, key, query.get('versionId') ?? undefined);
    if (found === undefined || found.marker) throw noSuchKey();
    const ifMatch = request.headers['if-match'];
    if (ifMatch !== undefined && ifMatch.replaceAll('"', '') !== found.etag) {
      throw new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
    }
    const range = rangeOf(request.headers.range, found.bytes);
    const { start, end } = range ?? { start: 0, end: found.bytes };
    response.writeHead(range === undefined ? 200 : 206, {
      'accept-ranges': 'bytes',
      'content-length': end - start,
      'content-type': query.get('response-content-type') ?? found.type,
      etag: `"${found.etag}"`,
      'last-modified': new Date(found.modified).toUTCString(),
      ...versionHeader(found),
      ...(range && { 'content-range': `bytes ${start}-${end - 1}/${found.bytes}` }),
      ...(query.has('response-content-disposition') && {
        'content-disposition': query.get('response-content-disposition') ?? '',
      }),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    await pipeline(this.#bytesOf(found, start, end), response);
  }

  async *#bytesOf({ pieces }: StoredVersion, start: number, end: number): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (const { bytes, inline, file = '' } of pieces) {
      const from = Math.max(start - at, 0);
      const to = Math.min(end - at, bytes);
      at += bytes;
      if (from >= to) continue;
      if (inline !== undefined) yield inline.subarray(from, to);
      else
        yield* createReadStream(join(this.#disk.filesDir, file), {
          start: from,
          end: to - 1,
          highWaterMark: READ_BYTES,
        });
    }
  }

  async #delete({ response, bucket, key, query }: Call): Promise<void> {
    this.#disk.delete(bucket, key, query.get('versionId') ?? undefined);
    response.writeHead(204).end();
  }

  async #startUpload({ request, response, bucket, key }: Call): Promise<void> {
    const type = request.headers['content-type'] ?? 'binary/octet-stream';
    const UploadId = this.#disk.startUpload(bucket, key, type);
    sendXml(response, toXml('InitiateMultipartUploadResult', { Bucket: bucket, Key: key, UploadId }));
  }

  async #putPart({ request, response, query }: Call): Promise<void> {
    const id = query.get('uploadId') ?? '';
    const number = Number(query.get('partNumber'));
    if (!Number.isInteger(number) || number < 1 || number > 10_000) {
      throw invalidArgument('Part number must be an integer between 1 and 10000, inclusive');
    }
    this.#disk.checkUpload(id);
    const body = await receiveBody(request, this.#disk.filesDir);
    await keepOrDiscard(body, () => this.#disk.putPart(id, number, body));
    response.writeHead(200, { etag: `"${body.md5}"` }).end();
  }

  async #complete({ request, response, bucket, key, query }: Call): Promise<void> {
    const parts = parseParts(await receiveText(request));
    const stored = this.#disk.completeUpload(query.get('uploadId') ?? '', parts, conditionOf(request));
    const result = { Location: `/${bucket}/${key}`, Bucket: bucket, Key: key, ETag: `"${stored.etag}"` };
    for (const [name, value] of Object.entries(versionHeader(stored))) response.setHeader(name, value);
    sendXml(response, toXml('CompleteMultipartUploadResult', result));
  }

  async #abort({ response, query }: Call): Promise<void> {
    this.#disk.abortUpload(query.get('uploadId') ?? '');
    response.writeHead(204).end();
  }
}

/** The path as sent: parsing it as a URL would resolve dots. */
function rawPath(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/';
}

function conditionOf(request: IncomingMessage): Condition {
  return { ifNoneMatch: request.headers['if-none-match'], ifMatch: request.headers['if-match'] };
}

async function keepOrDiscard<T>(body: ReceivedBody, keep: () => T): Promise<T> {
  try {
    return keep();
  } catch (error) {
    if (body.file !== undefined) await rm(body.file, { force: true });
    throw error;
  }
}

function versionHeader({ version }: StoredVersion): Record<string, string> {
  return version === 'null' ? {} : { 'x-amz-version-id': version };
}

function keysAsked(query: URLSearchParams): number {
  const asked = Number(query.get('max-keys') ?? KEYS_MAX);
  if (!Number.isInteger(asked) || asked < 0) throw invalidArgument('Provided max-keys not an integer or within range');
  return Math.min(asked, KEYS_MAX);
}

function encoder(query: URLSearchParams): (text: string) => string {
  return query.get('encoding-type') === 'url'
    ? (text) => encodeURIComponent(text).replaceAll('%2F', '/')
    : (text) => text;
}

/**
 * The bytes asked for, end exclusive; `undefined` for all. What is not one simple range is ignored, as S3 does.
 * @throws S3Error `InvalidRange` for a range that starts at the end or behind it
 */
function rangeOf(header: string | undefined, bytes: number): { start: number; end: number } | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? [];
  if (first === undefined || (first === '' && last === '')) return undefined;
  const start = first === '' ? Math.max(0, bytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? bytes : Math.min(bytes, Number(last) + 1);
  if (start >= bytes || end <= start) throw new S3Error(416, 'InvalidRange', 'The requested range is not satisfiable');
  return { start, end };
}

function sendXml(response: ServerResponse, xml: string): void {
  response.writeHead(200, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(xml) }).end(xml);
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || (request.destroyed && !request.complete)) {
    response.destroy();
    return;
  }
  const answer = error instanceof S3Error ? error : asS3Error(error);
  const xml = errorXml(answer, rawPath(request));
  const headers = { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(xml) };
  // What is left of an unread body would be taken for the next request.
  if (!request.complete) Object.assign(headers, { connection: 'close' });
  response.writeHead(answer.status, headers).end(request.method === 'HEAD' ? undefined : xml);
}

function asS3Error(error: unknown): S3Error {
  if (error instanceof URIError) return new S3Error(400, 'InvalidURI', "Couldn't parse the specified URI.");
  const message = error instanceof Error ? error.message : String(error);
  return new S3Error(500, 'InternalError', `We encountered an internal error: ${message}`);
}

const iso = (at: number) => new Date(at).toISOString();
