import { createHash, createHmac } from 'node:crypto';
import type { Arrived } from './scripted-server.ts';

const sha256 = (text: string) => createHash('sha256').update(text, 'utf8').digest('hex');
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text, 'utf8').digest();

/**
 * Checks a signature as AWS would, from the words of its specification and with nothing of its SDK; gives the scope that
 * was signed for. Each part of a path is encoded once more there, as for every service but S3.
 * @throws Error saying what does not hold
 * @source https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (2026-11)
 */
export function checkSignature(
  request: Arrived,
  secret: string,
): { keyId: string; region: string; service: string; signed: string[] } {
  const found =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      request.headers.authorization ?? '',
    );
  if (found === null) throw new Error(`no signature: ${request.headers.authorization}`);
  const [, keyId, day, region, service, signedNames, signature] = found as unknown as string[];
  const signed = signedNames!.split(';');
  const moment = String(request.headers['x-amz-date']);
  if (!moment.startsWith(day!)) throw new Error(`signed for ${day}, sent at ${moment}`);
  const [path, query = ''] = request.path.split('?');
  const canonical = [
    request.method,
    path!.split('/').map(encodeStrictly).join('/'),
    query,
    ...signed.map((name) => `${name}:${String(request.headers[name]).trim()}`),
    '',
    signedNames,
    sha256(request.text),
  ].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, day!), region!), service!), 'aws4_request');
  const expected = hmac(key, ['AWS4-HMAC-SHA256', moment, scope, sha256(canonical)].join('\n')).toString('hex');
  if (expected !== signature) throw new Error(`the signature does not hold for\n${canonical}`);
  return { keyId: keyId!, region: region!, service: service!, signed };
}

function encodeStrictly(part: string): string {
  return encodeURIComponent(part).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}
