import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { OutcomeUnknownError } from '../../shared/errors.ts';
import type { PutResult } from '../../shared/ports/object-store.ts';
import { awsCodeOf, type Effect, statusOf } from './errors.ts';

/** Parts under way at once; a further one fills meanwhile. */
const PARTS_UNDER_WAY_MAX = 2;

/** One upload in parts: where to, and how calls are made. */
export interface UploadTarget {
  client: S3Client;
  bucket: string;
  key: string;
  contentType: string;
  /** Makes one call, not retried where it may have an effect `once`. */
  call<T>(effect: Effect, bytes: number, run: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** Parts that S3 holds and nobody sees. */
export interface UploadedParts {
  uploadId: string;
  etags: string[];
  bytes: number;
  /** Hex, of the whole. */
  sha256: string;
}

/**
 * Uploads blocks as the parts of one object that is not there yet.
 * @throws whatever `blocks` throws; what was uploaded is removed then
 */
export async function uploadParts(target: UploadTarget, blocks: AsyncIterable<Uint8Array>): Promise<UploadedParts> {
  const { client, call, bucket, key, contentType } = target;
  const place = { Bucket: bucket, Key: key };
  const uploadId = await call('repeatable', 0, async (abortSignal) => {
    const start = new CreateMultipartUploadCommand({ ...place, ContentType: contentType });
    return (await client.send(start, { abortSignal })).UploadId;
  });
  const hash = createHash('sha256');
  const etags: string[] = [];
  const underWay = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  let bytes = 0;
  const upload = async (block: Uint8Array, number: number) => {
    const { byteLength } = block;
    etags[number - 1] = await call('repeatable', byteLength, async (abortSignal) => {
      const part = { ...place, UploadId: uploadId, PartNumber: number, Body: block, ContentLength: byteLength };
      return (await client.send(new UploadPartCommand(part), { abortSignal })).ETag ?? '';
    });
  };
  try {
    let number = 0;
    for await (const block of blocks) {
      hash.update(block);
      bytes += block.byteLength;
      const part = upload(block, ++number)
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => underWay.delete(part));
      underWay.add(part);
      if (underWay.size >= PARTS_UNDER_WAY_MAX) await Promise.race(underWay);
      if (failure !== undefined) break;
    }
    await Promise.all(underWay);
    if (failure !== undefined) throw failure.error;
  } catch (error) {
    await Promise.all(underWay);
    await abortUpload(target, uploadId ?? '');
    throw error;
  }
  return { uploadId: uploadId ?? '', etags, bytes, sha256: hash.digest('hex') };
}

/**
 * Makes uploaded parts the object, unless there is one.
 *
 * S3 answers 409 where another operation on the key interferes, and then wants all parts again: `TransientError`.
 * @source https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html (2026-11)
 */
export async function completeUpload(target: UploadTarget, { uploadId, etags }: UploadedParts): Promise<PutResult> {
  const { client, call, bucket, key } = target;
  return await call('once', 0, async (abortSignal) => {
    try {
      const Parts = etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 }));
      const complete = new CompleteMultipartUploadCommand({
        Bucket: bucket,
        Key: key,
        UploadId: uploadId,
        MultipartUpload: { Parts },
        IfNoneMatch: '*',
      });
      return { status: 'created', etag: (await client.send(complete, { abortSignal })).ETag ?? '' };
    } catch (error) {
      if (statusOf(error) === 412) return { status: 'exists' };
      // An upload that is gone was completed by a call of ours whose reply was lost.
      if (awsCodeOf(error) === 'NoSuchUpload') {
        throw new OutcomeUnknownError('write_outcome_unknown', `${bucket}/${key}: upload is gone`, { cause: error });
      }
      throw error;
    }
  });
}

/** Removes parts that will not become an object. Never rejects: what stays behind, the bucket's lifecycle removes. */
export async function abortUpload({ client, call, bucket, key }: UploadTarget, uploadId: string): Promise<void> {
  const abort = new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId });
  await call('repeatable', 0, (abortSignal) => client.send(abort, { abortSignal })).catch(() => {});
}
