import { S3Client } from '@aws-sdk/client-s3';
import { clientDefaults } from './http.ts';
import type { AwsConnection } from './site.ts';

/** A client of S3, or of what speaks like it. */
export function s3Client({
  region,
  endpoint,
  credentials,
  timeouts,
}: Required<Pick<AwsConnection, 'timeouts'>> & AwsConnection): S3Client {
  return new S3Client({
    ...clientDefaults(timeouts),
    region,
    endpoint,
    credentials,
    // Other addresses than Amazon's have no name for each bucket.
    forcePathStyle: endpoint !== undefined,
    // TLS protects what is under way; other stores know none of the newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Asking first costs a connection for each large part.
    expectContinueHeader: false,
  });
}
