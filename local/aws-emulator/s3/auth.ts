import type { IncomingMessage } from 'node:http';
import { S3Error } from './error.ts';

/**
 * Refuses what S3 refuses before it looks at a signature: requests that are not signed, that are signed twice, and
 * presigned addresses whose time is over. Signatures themselves are not verified: anyone on this machine may sign.
 *
 * @throws S3Error
 * @source https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html (2026-11)
 */
export function checkAuth(request: IncomingMessage, query: URLSearchParams, now: number): void {
  const header = request.headers.authorization;
  const presigned = query.has('X-Amz-Algorithm') || query.has('X-Amz-Signature');
  if (header !== undefined && presigned) {
    throw new S3Error(
      400,
      'InvalidArgument',
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
    );
  }
  if (presigned) {
    checkPresigned(request, query, now);
    return;
  }
  if (header === undefined) throw new S3Error(403, 'AccessDenied', 'Access Denied');
  if (!header.startsWith('AWS4-HMAC-SHA256 ')) {
    throw new S3Error(400, 'InvalidArgument', 'Unsupported Authorization Type');
  }
}

function checkPresigned(request: IncomingMessage, query: URLSearchParams, now: number): void {
  const needed = [
    'X-Amz-Algorithm',
    'X-Amz-Credential',
    'X-Amz-Date',
    'X-Amz-Expires',
    'X-Amz-SignedHeaders',
    'X-Amz-Signature',
  ];
  if (needed.some((name) => !query.get(name))) {
    throw new S3Error(
      400,
      'AuthorizationQueryParametersError',
      `Query-string authentication version 4 requires the ${needed.join(', ')} parameters.`,
    );
  }
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '') ?? [];
  const signedAt = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  const expires = Number(query.get('X-Amz-Expires'));
  if (Number.isNaN(signedAt) || !(expires > 0 && expires <= 604_800)) {
    throw new S3Error(400, 'AuthorizationQueryParametersError', 'X-Amz-Date or X-Amz-Expires is not valid');
  }
  if (now > signedAt + expires * 1000) throw new S3Error(403, 'AccessDenied', 'Request has expired');
  for (const name of (query.get('X-Amz-SignedHeaders') ?? '').split(';')) {
    if (request.headers[name] === undefined) {
      throw new S3Error(403, 'AccessDenied', `There were headers signed which were not sent: ${name}`);
    }
  }
}
