import { GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { Presigner } from '../../shared/ports/presign.ts';
import type { DurationMs } from '../../shared/units.ts';

/**
 * Addresses that let a client that has no credentials of ours put or get one object of a bucket directly. The request
 * must not carry an `Authorization` header: S3 answers 400 to two kinds of authentication.
 *
 * @source https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html (2026-11)
 */
export function s3Presigner(options: { client: S3Client; bucket: string }): Presigner {
  const { client, bucket } = options;
  return {
    async uploadTo(key, { bytes, expiresInMs }) {
      const put = new PutObjectCommand({ Bucket: bucket, Key: key, ContentLength: bytes });
      // A signed length binds the client to the size it announced.
      const signableHeaders = new Set(['host', 'content-length']);
      const url = await getSignedUrl(client, put, { expiresIn: seconds(expiresInMs), signableHeaders });
      return { url, method: 'PUT', headers: {} };
    },
    async downloadFrom(key, { expiresInMs, fileName, contentType }) {
      const get = new GetObjectCommand({
        Bucket: bucket,
        Key: key,
        ResponseContentDisposition: fileName && `attachment; filename="${fileName.replaceAll(/[^\w.-]/g, '_')}"`,
        ResponseContentType: contentType,
      });
      return await getSignedUrl(client, get, { expiresIn: seconds(expiresInMs) });
    },
  };
}

function seconds(ms: DurationMs): number {
  return Math.ceil(ms / 1000);
}
